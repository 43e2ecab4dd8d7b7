/* Lifecycle of a program, its lists, its views, what can be asked of it. */
#include "../support/hash_impl.h"
#include "program_impl.h"

#include <stdarg.h>

struct ag_view_entry {
    ag_pview view;                    /* first: `views` points here */
    int64_t key[2 + 2 * AG_MAX_RANK]; /* rank, offset, dims, strides */
    uint32_t id;
    UT_hash_handle hh;
};

/* What is returned when there is no memory for a program; never written to. */
static ag_program nil_program = {.status = AG_ERR_MEMORY, .message = "program: out of memory when it was made"};

static bool is_nil(const ag_program *p) { return p == NULL || p == &nil_program; }

ag_program *ag_program_new(ag_type type, const ag_memory *memory) {
    ag_memory own = {memory->permit, memory->context, true, 0}; /* lists are many and small: no reserved addresses */
    ag_program *p = ag_memory_zeroed(&own, sizeof *p);
    if (!p) return &nil_program;
    p->memory = own;
    p->type = type;
    atomic_init(&p->references, 1);
    pthread_mutex_init(&p->lock, NULL);
    return p;
}

ag_program *ag_program_keep(const ag_program *p) {
    ag_program *q = (ag_program *)(uintptr_t)p;
    if (!is_nil(q)) atomic_fetch_add_explicit(&q->references, 1, memory_order_relaxed);
    return q;
}

static void free_views(ag_program *p) {
    ag_memory *memory = &p->memory;
    HASH_CLEAR(hh, p->interned);
    for (uint32_t i = 0; i < p->views.count; i++) {
        void *v = (void *)(uintptr_t)ag_pview_at(p, i);
        ag_memory_free(memory, v, sizeof(ag_view_entry));
    }
}

void ag_program_free(ag_program *p) {
    if (is_nil(p) || atomic_fetch_sub_explicit(&p->references, 1, memory_order_acq_rel) > 1) return;
    ag_program_close_pool(p);
    for (uint64_t i = 0; i < p->calls.count; i++) {
        const ag_pcall *call = ag_pcall_at(p, i);
        if (call->operation && call->operation->hold) call->operation->hold(ag_pparams_at(p, call->params), -1);
    }
    free_views(p);
    ag_list *lists[] = {&p->codes, &p->refs,   &p->calls,   &p->params, &p->constants,
                        &p->views, &p->inputs, &p->outputs, &p->names};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) ag_range_free(&p->memory, &lists[i]->range);
    ag_memory memory = p->memory;
    ag_memory_free(&memory, p, sizeof *p);
}

void ag_program_fail(ag_program *p, ag_status status, const char *format, ...) {
    if (is_nil(p) || p->status != AG_OK || status == AG_OK) return;
    p->status = status;
    va_list args;
    va_start(args, format);
    vsnprintf(p->message, sizeof p->message, format, args);
    va_end(args);
}

ag_program *ag_program_failed(const ag_program *p, ag_status status, const char *format, ...) {
    ag_program *q = ag_program_new(ag_program_type(p), p ? &p->memory : &(ag_memory){0});
    if (is_nil(q) || status == AG_OK) return q;
    q->status = status;
    va_list args;
    va_start(args, format);
    vsnprintf(q->message, sizeof q->message, format, args);
    va_end(args);
    return q;
}

/* ---- lists ---- */

void *ag_list_add(ag_program *p, ag_list *list, size_t size, uint64_t n) {
    if (p->status != AG_OK) return NULL;
    uint64_t need = (list->count + n) * size;
    if (list->count + n >= UINT32_MAX) {
        ag_program_fail(p, AG_ERR_SLOTS, "program: more than %u instructions, operands or numbers", UINT32_MAX);
        return NULL;
    }
    if (need > list->range.size && !ag_range_grow(&p->memory, &list->range, need, SIZE_MAX)) {
        ag_program_fail(p, AG_ERR_MEMORY, "program: out of memory: it holds %zu bytes", p->memory.held);
        return NULL;
    }
    void *at = list->range.base ? list->range.base + list->count * size : NULL; /* n = 0 of an empty list */
    list->count += n;
    return at;
}

bool ag_program_add_port(ag_program *p, ag_list *ports, const char *name, const char *letter, ag_ref ref) {
    char made[16];
    if (!name) {
        snprintf(made, sizeof made, "%s%u", letter, (unsigned)ports->count);
        name = made;
    }
    uint64_t at = p->names.count;
    size_t size = strlen(name) + 1;
    char *text = ag_list_add(p, &p->names, 1, size);
    if (!text) return false;
    memcpy(text, name, size);
    ag_pport *port = ag_list_add(p, ports, sizeof *port, 1);
    if (!port) return false;
    *port = (ag_pport){(uint32_t)at, ref};
    return true;
}

/* ---- views ---- */

static void set_extent(ag_view *v) {
    bool empty = false;
    for (int i = 0; i < v->rank; i++) empty |= v->dim[i] == 0;
    v->count = !empty;
    v->contiguous = true;
    for (int i = v->rank - 1; i >= 0 && !empty; i--) {
        int64_t reach = (v->dim[i] - 1) * v->stride[i];
        if (reach < 0) v->lo += reach;
        else v->hi += reach;
        v->contiguous &= v->dim[i] == 1 || v->stride[i] == v->count;
        v->count *= v->dim[i];
    }
}

static uint32_t add_view(ag_program *p, const ag_view_entry *wanted, size_t key_size) {
    ag_memory *memory = &p->memory;
    const void **place = ag_list_add(p, &p->views, sizeof *place, 1);
    if (!place) return WHERE_ELEMENT;
    ag_view_entry *v = ag_memory_resize(memory, NULL, 0, sizeof *v);
    if (v) {
        *v = *wanted;
        v->id = (uint32_t)p->views.count - 1;
        set_extent(&v->view.view);
        HASH_ADD_KEYPTR(hh, p->interned, v->key, key_size, v);
        if (!v->hh.tbl) {
            ag_memory_free(memory, v, sizeof *v);
            v = NULL;
        }
    }
    if (!v) {
        p->views.count--;
        ag_program_fail(p, AG_ERR_MEMORY, "program: out of memory: it holds %zu bytes", p->memory.held);
        return WHERE_ELEMENT;
    }
    *place = &v->view;
    return v->id;
}

uint32_t ag_program_view(ag_program *p, int rank, const int64_t *dim, const int64_t *stride, int64_t offset) {
    if (p->status != AG_OK) return WHERE_ELEMENT;
    if (rank == 0) {
        if (offset < MOST_ELEMENTS) return WHERE_ELEMENT | (uint32_t)offset;
        ag_program_fail(p, AG_ERR_SLOTS, "program: element %lld of a tensor: only the first %lld can be taken singly",
                        (long long)offset, (long long)MOST_ELEMENTS);
        return WHERE_ELEMENT;
    }
    ag_view_entry wanted = {.view = {.view = {.rank = rank}, .offset = offset}};
    bool empty = false;
    int64_t natural = 1;
    for (int i = 0; i < rank; i++) empty |= dim[i] == 0;
    for (int i = rank - 1; i >= 0; i--) {
        wanted.view.view.dim[i] = dim[i];
        wanted.view.view.stride[i] = empty ? 0 : dim[i] == 1 ? natural : stride[i];
        if (!empty) natural = wanted.view.view.stride[i] * dim[i];
    }
    wanted.key[0] = rank;
    wanted.key[1] = offset;
    for (int i = 0; i < rank; i++) {
        wanted.key[2 + i] = dim[i];
        wanted.key[2 + rank + i] = wanted.view.view.stride[i];
    }
    size_t key_size = (size_t)(2 + 2 * rank) * sizeof wanted.key[0];
    ag_view_entry *found = NULL;
    HASH_FIND(hh, p->interned, wanted.key, key_size, found);
    return found ? found->id : add_view(p, &wanted, key_size);
}

uint32_t ag_program_shape(ag_program *p, ag_shape shape) {
    int64_t stride[AG_MAX_RANK];
    ag_row_major(shape.rank, shape.dim, stride);
    return ag_program_view(p, shape.rank, shape.dim, stride, 0);
}

/* ---- questions ---- */

ag_status ag_program_status(const ag_program *p) { return p ? p->status : AG_ERR_VALUE; }
const char *ag_program_message(const ag_program *p) { return p ? p->message : "no program: it is NULL"; }
ag_type ag_program_type(const ag_program *p) { return p ? p->type : AG_F64; }
int ag_program_inputs(const ag_program *p) { return p ? (int)p->inputs.count : 0; }
int ag_program_outputs(const ag_program *p) { return p ? (int)p->outputs.count : 0; }

static ag_port port_of(const ag_program *p, const ag_list *ports, int k) {
    ag_port port = {0};
    if (!p || k < 0 || (uint64_t)k >= ports->count) return port;
    const ag_pport *at = (const ag_pport *)(const void *)ports->range.base + k;
    port.name = ag_name_at(p, at->name);
    port.shape = ag_where_shape(p, at->ref.where);
    return port;
}

ag_port ag_program_input(const ag_program *p, int k) { return port_of(p, p ? &p->inputs : NULL, k); }
ag_port ag_program_output(const ag_program *p, int k) { return port_of(p, p ? &p->outputs : NULL, k); }

int64_t ag_program_size(const ag_program *p) {
    int64_t n = 0;
    for (uint64_t i = 0; p && i < p->codes.count; i++) {
        uint32_t op = ag_code_at(p, i)->op;
        n += op != CODE_INPUT && op != CODE_CONSTANT;
    }
    return n;
}
