/* Which instructions share a loop or an expression, in which order they are printed, and where values are kept.
 *
 * Elementwise instructions on tensors of one shape wait for each other to share a loop; what does not depend on them goes
 * before it. A scalar that is used once, by another scalar or in the same loop, becomes part of that expression while it
 * stays short. Long programs are split into parts; scalars that pass from one to another are kept in the work array, and
 * so are tensors where they are more than a stack should hold. */
#include "print_impl.h"

enum {
    LONGEST_EXPRESSION = 6, /* operations */
    PART = 1000,            /* statements of a function */
    MOST_LOCAL = 4096,      /* elements of all array variables */
    ALIGN = 8               /* elements; places in the work array */
};
#define NOBODY UINT32_MAX

typedef struct ag_waiting {
    uint32_t shape; /* of the loop that waits; NOBODY: none */
    uint32_t first;
    uint32_t id; /* in `in_loop_number` of its members */
} ag_waiting;

typedef struct ag_hole {
    int64_t offset, size;
} ag_hole;

static bool is_scalar(const ag_program *p, uint32_t v) { return ag_code_at(p, v)->view & WHERE_ELEMENT; }
static bool is_elementwise(const ag_code *c) { return c->op < AG_OPCODES; }

/* ---- memory ---- */

static void *take(ag_c_schedule *s, size_t size) {
    void *block = s->failed ? NULL : ag_memory_zeroed(s->memory, size + 1);
    s->failed |= !block;
    return block;
}

static bool open_lists(ag_c_schedule *s) {
    size_t n = s->n, outputs = s->p->outputs.count;
    s->uses = take(s, n);
    s->weight = take(s, n);
    s->home = take(s, n);
    s->in_loop = take(s, n);
    s->consumer = take(s, n * sizeof *s->consumer);
    s->item = take(s, n * sizeof *s->item);
    s->last = take(s, n * sizeof *s->last);
    s->offset = take(s, n * sizeof *s->offset);
    s->members = take(s, n * sizeof *s->members);
    s->items = take(s, (n + outputs) * sizeof *s->items);
    return !s->failed;
}

void ag_c_schedule_close(ag_c_schedule *s) {
    size_t n = s->n, outputs = s->p->outputs.count;
    ag_memory *m = s->memory;
    ag_memory_free(m, s->uses, n + 1);
    ag_memory_free(m, s->weight, n + 1);
    ag_memory_free(m, s->home, n + 1);
    ag_memory_free(m, s->in_loop, n + 1);
    ag_memory_free(m, s->consumer, n * sizeof *s->consumer + 1);
    ag_memory_free(m, s->item, n * sizeof *s->item + 1);
    ag_memory_free(m, s->last, n * sizeof *s->last + 1);
    ag_memory_free(m, s->offset, n * sizeof *s->offset + 1);
    ag_memory_free(m, s->members, n * sizeof *s->members + 1);
    ag_memory_free(m, s->items, (n + outputs) * sizeof *s->items + 1);
}

/* ---- expressions ---- */

static void count_uses(ag_c_schedule *s) {
    const ag_program *p = s->p;
    for (uint32_t i = 0; i < s->n; i++) {
        const ag_code *c = ag_code_at(p, i);
        for (uint32_t k = 0, n = ag_operand_count(p, c); k < n; k++) {
            uint32_t v = ag_ref_at(p, c->in + k)->value;
            s->uses[v] = (uint8_t)(s->uses[v] + (s->uses[v] < 2));
            s->consumer[v] = i;
        }
    }
    for (uint64_t k = 0; k < p->outputs.count; k++) s->uses[ag_poutput_at(p, k)->ref.value] = 2;
}

static bool is_computed(const ag_code *c) { return c->op != CODE_INPUT && c->op != CODE_CONSTANT; }

/* What computes no elements is not printed, as it is not run either. */
static bool is_printed(const ag_program *p, uint32_t i) {
    const ag_code *c = ag_code_at(p, i);
    return is_computed(c) && ag_value_count(p, i);
}

/* Operands that can be part of the expression of i, an elementwise instruction. */
static void nest_operands(ag_c_schedule *s, uint32_t i) {
    const ag_program *p = s->p;
    const ag_code *c = ag_code_at(p, i);
    uint32_t n = ag_operand_count(p, c), weight = 1;
    bool once = ag_c_template_of(c->op).once;
    for (uint32_t k = 0; k < n; k++) {
        ag_ref r = *ag_ref_at(p, c->in + k);
        const ag_code *from = ag_code_at(p, r.value);
        bool fits = once && is_elementwise(from) && s->uses[r.value] == 1 && r.where == from->view;
        fits &= is_scalar(p, i) ? is_scalar(p, r.value) : s->in_loop[r.value] && s->item[r.value] == s->item[i];
        if (!fits || weight + s->weight[r.value] > LONGEST_EXPRESSION) continue;
        weight += s->weight[r.value];
        s->home[r.value] = HOME_INLINE;
    }
    s->weight[i] = (uint8_t)weight;
}

/* ---- order ---- */

static ag_c_item *add_item(ag_c_schedule *s, ag_c_kind kind) {
    ag_c_item *item = &s->items[s->item_count++];
    *item = (ag_c_item){kind, s->members_count, 0};
    return item;
}

static void end_loop(ag_c_schedule *s, ag_waiting *w, const uint32_t *waiting) {
    if (w->shape == NOBODY) return;
    ag_c_item *item = add_item(s, ITEM_LOOP);
    for (uint32_t k = 0; k < w->first; k++) {
        uint32_t v = waiting[k];
        s->item[v] = s->item_count - 1;
        s->members[s->members_count++] = v;
        s->in_loop[v] = 1;
    }
    item->count = w->first;
    *w = (ag_waiting){.shape = NOBODY};
}

/* Whether i, or an expression that is part of it, reads what waits. `whole`: it reads the same element only. */
static bool reads_waiting(const ag_c_schedule *s, uint32_t i, bool *whole) {
    const ag_program *p = s->p;
    const ag_code *c = ag_code_at(p, i);
    bool reads = false;
    for (uint32_t k = 0, n = ag_operand_count(p, c); k < n; k++) {
        ag_ref r = *ag_ref_at(p, c->in + k);
        if (s->home[r.value] == HOME_INLINE) {
            bool inner = true;
            if (reads_waiting(s, r.value, &inner)) {
                reads = true;
                *whole = false;
            }
        } else if (s->in_loop[r.value] == 2) {
            reads = true;
            *whole &= r.where == ag_code_at(p, r.value)->view;
        }
    }
    return reads;
}

static void order(ag_c_schedule *s, uint32_t *waiting) {
    const ag_program *p = s->p;
    ag_waiting w = {.shape = NOBODY};
    for (uint32_t i = 0; i < s->n; i++) {
        const ag_code *c = ag_code_at(p, i);
        if (!is_printed(p, i) || s->home[i] == HOME_INLINE) continue;
        bool tensor = is_elementwise(c) && !is_scalar(p, i), whole = true;
        bool reads = w.shape != NOBODY && reads_waiting(s, i, &whole);
        if ((tensor && w.shape != NOBODY && (w.shape != c->view || (reads && !whole))) || (!tensor && reads))
            end_loop(s, &w, waiting);
        if (tensor) {
            w.shape = c->view;
            waiting[w.first++] = i;
            s->in_loop[i] = 2;
            continue;
        }
        ag_c_item *item = add_item(s, c->op == CODE_CALL ? ITEM_CALL : ITEM_SCALAR);
        item->count = 1;
        s->item[i] = s->item_count - 1;
        s->members[s->members_count++] = i;
    }
    end_loop(s, &w, waiting);
    for (uint32_t k = 0; k < p->outputs.count; k++) add_item(s, ITEM_OUTPUT)->first = k;
}

/* ---- where values are ---- */

/* The item in which a value is computed: that of the expression that it is part of. */
static uint32_t item_of(const ag_c_schedule *s, uint32_t v) {
    while (s->home[v] == HOME_INLINE) v = s->consumer[v];
    return s->item[v];
}

static uint32_t part_of(const ag_c_schedule *s, uint32_t item) { return item / s->per_part; }

static void read_in(ag_c_schedule *s, uint32_t v, uint32_t item) {
    if (s->home[v] == HOME_INLINE || s->home[v] == HOME_EMPTY) return;
    bool scalar = is_scalar(s->p, v) && is_elementwise(ag_code_at(s->p, v));
    if (s->last[v] < item) s->last[v] = item;
    if (scalar && part_of(s, s->item[v]) != part_of(s, item)) s->home[v] = HOME_WORK;
    if (!scalar && s->item[v] != item) s->home[v] = HOME_ARRAY;
}

static void find_homes(ag_c_schedule *s) {
    const ag_program *p = s->p;
    for (uint32_t i = 0; i < s->n; i++) {
        const ag_code *c = ag_code_at(p, i);
        if (ag_value_count(p, i) == 0) s->home[i] = HOME_EMPTY;
        else if (c->op == CODE_INPUT) s->home[i] = HOME_INPUT;
        else if (c->op == CODE_CONSTANT) s->home[i] = is_scalar(p, i) ? HOME_LITERAL : HOME_TABLE;
        else if (s->home[i] != HOME_INLINE) s->home[i] = c->op == CODE_CALL ? HOME_ARRAY : HOME_LOCAL;
    }
    for (uint32_t i = 0; i < s->n; i++) {
        const ag_code *c = ag_code_at(p, i);
        for (uint32_t k = 0, n = is_printed(p, i) ? ag_operand_count(p, c) : 0; k < n; k++) {
            uint32_t v = ag_ref_at(p, c->in + k)->value;
            if (is_computed(ag_code_at(p, v))) read_in(s, v, item_of(s, i));
        }
    }
    for (uint32_t k = 0; k < p->outputs.count; k++) {
        uint32_t v = ag_poutput_at(p, k)->ref.value;
        if (is_computed(ag_code_at(p, v))) read_in(s, v, s->item_count - (uint32_t)p->outputs.count + k);
    }
}

/* All of a value, in whatever shape. */
static bool is_all(const ag_program *p, ag_ref r) {
    return ag_ref_is_block(p, r) && ag_where_offset(p, r.where) == 0 &&
           ag_where_count(p, r.where) == ag_value_count(p, r.value);
}

/* What is all of an output is computed there. */
static void use_outputs(ag_c_schedule *s) {
    const ag_program *p = s->p;
    for (uint32_t k = 0; k < p->outputs.count; k++) {
        ag_ref r = ag_poutput_at(p, k)->ref;
        if (s->home[r.value] != HOME_ARRAY || !is_all(p, r)) continue;
        s->home[r.value] = HOME_OUTPUT;
        s->offset[r.value] = k;
    }
}

static int64_t take_place(ag_c_schedule *s, ag_hole *holes, uint32_t *count, int64_t size) {
    uint32_t best = NOBODY;
    for (uint32_t k = 0; k < *count; k++)
        if (holes[k].size >= size && (best == NOBODY || holes[k].size < holes[best].size)) best = k;
    if (best == NOBODY) {
        int64_t at = s->work;
        s->work += size;
        return at;
    }
    int64_t at = holes[best].offset;
    holes[best].offset += size;
    holes[best].size -= size;
    if (!holes[best].size) holes[best] = holes[--*count];
    return at;
}

static void give_place(ag_hole *holes, uint32_t *count, ag_hole hole) {
    for (uint32_t k = 0; k < *count;) {
        bool before = holes[k].offset + holes[k].size == hole.offset,
             behind = hole.offset + hole.size == holes[k].offset;
        if (before) hole.offset = holes[k].offset;
        if (before || behind) {
            hole.size += holes[k].size;
            holes[k] = holes[--*count];
        } else {
            k++;
        }
    }
    holes[(*count)++] = hole;
}

static int64_t place_size(const ag_c_schedule *s, uint32_t v) {
    return (ag_value_count(s->p, v) + ALIGN - 1) / ALIGN * ALIGN;
}

/* Tensors in the work array, each until its last use; the values that end with an item are chained from `ends`. */
static void place_tensors(ag_c_schedule *s) {
    uint32_t *ends = take(s, s->item_count * sizeof *ends), *next = take(s, s->n * sizeof *next), count = 0;
    ag_hole *holes = take(s, s->n * sizeof *holes);
    if (!s->failed) {
        memset(ends, 0xff, s->item_count * sizeof *ends);
        for (uint32_t v = 0; v < s->n; v++) {
            if (s->home[v] != HOME_ARRAY) continue;
            next[v] = ends[s->last[v]];
            ends[s->last[v]] = v;
        }
        for (uint32_t i = 0; i < s->item_count; i++) {
            const ag_c_item *item = &s->items[i];
            for (uint32_t k = 0; k < item->count; k++) {
                uint32_t v = s->members[item->first + k];
                if (s->home[v] != HOME_ARRAY) continue;
                s->offset[v] = take_place(s, holes, &count, place_size(s, v));
                s->home[v] = HOME_WORK;
            }
            for (uint32_t v = ends[i]; v != NOBODY; v = next[v])
                if (place_size(s, v)) give_place(holes, &count, (ag_hole){s->offset[v], place_size(s, v)});
        }
    }
    ag_memory_free(s->memory, holes, s->n * sizeof *holes + 1);
    ag_memory_free(s->memory, next, s->n * sizeof *next + 1);
    ag_memory_free(s->memory, ends, s->item_count * sizeof *ends + 1);
}

static void place_values(ag_c_schedule *s) {
    int64_t arrays = 0;
    for (uint32_t v = 0; v < s->n; v++) {
        if (s->home[v] == HOME_WORK) s->offset[v] = s->work++;
        if (s->home[v] == HOME_ARRAY && arrays <= MOST_LOCAL) arrays += ag_value_count(s->p, v);
    }
    s->work = (s->work + ALIGN - 1) / ALIGN * ALIGN;
    if (s->parts > 1 || arrays > MOST_LOCAL) place_tensors(s);
}

bool ag_c_schedule_open(ag_c_schedule *s, const ag_program *p, ag_memory *memory, bool single_output) {
    *s = (ag_c_schedule){.p = p, .memory = memory, .n = (uint32_t)p->codes.count};
    if (!open_lists(s)) return false;
    uint32_t *waiting = take(s, s->n * sizeof *waiting);
    if (waiting) {
        count_uses(s);
        for (uint32_t i = 0; i < s->n; i++)
            if (is_elementwise(ag_code_at(p, i)) && is_scalar(p, i)) nest_operands(s, i);
        order(s, waiting);
        for (uint32_t i = 0; i < s->n; i++)
            if (s->in_loop[i]) nest_operands(s, i);
        s->per_part = s->item_count > PART + PART / 2 ? PART : s->item_count + 1;
        s->parts = (s->item_count + s->per_part - 1) / s->per_part;
        if (s->parts == 0) s->parts = 1;
        find_homes(s);
        if (!single_output) use_outputs(s);
        place_values(s);
    }
    ag_memory_free(memory, waiting, s->n * sizeof *waiting + 1);
    return !s->failed;
}
