/* Named parameters and buffers on a tape, and the state of a training step. */
#include "nn/initial.h"
#include "nn/memory.h"
#include "nn/model_impl.h"
#include "nn/random.h"
#include "nn/shapes.h"

#include <inttypes.h>
#include <math.h>

#define uthash_malloc(size) nn_allocate(1, size)
#define uthash_free(memory, size) nn_release(memory)
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* A parameter or a buffer. */
typedef struct entry {
    char *name;
    ag_var var;
    ag_shape shape;
    int64_t count; /* numbers in it */
    bool is_buffer;
    ag_var next;     /* a buffer's next value; the number 0: none */
    void *staged;    /* the same as numbers, or room for them; NULL: no room yet */
    bool is_staged;  /* they are a next value */
    bool is_swapped; /* they are the buffer's own, and the buffer has the next value */
    UT_hash_handle hh;
} entry;

typedef struct list {
    int count, capacity;
    entry **items;
} list;

/* How often there were random numbers of a key in a forward pass. */
typedef struct uses {
    uint64_t key, forward, count;
    UT_hash_handle hh;
} uses;

/* What belongs to layers. */
typedef struct kept {
    char key[64];
    void *thing;
    void (*release)(void *thing);
    struct kept *next;
} kept;

struct nn_model {
    ag_tape *tape;
    uint64_t seed;
    list parameters, buffers;
    entry *names; /* of both, hashed */
    bool training;
    ag_var clock;
    double more; /* batches that were added to the step's first one: the commit advances the clock by them, too */
    double committed_clock; /* while is_ahead */
    bool is_ahead;          /* the clock is that of the last batch that was added */
    uint64_t forward;       /* which forward pass this is */
    uses *uses;             /* hashed by key */
    kept *kept;
};

nn_model *nn_model_new(ag_tape *tape, uint64_t seed) {
    if (tape == NULL) return NULL;
    nn_model *model = nn_allocate(1, sizeof *model);
    if (model == NULL) {
        ag_fail(tape, AG_ERR_MEMORY, "model: out of memory");
        return NULL;
    }
    model->tape = tape;
    model->seed = seed;
    model->training = true;
    model->clock = ag_input(tape, 0);
    return model;
}

static void free_entry(entry *e) {
    if (e == NULL) return;
    nn_release(e->name);
    nn_release(e->staged);
    nn_release(e);
}

static void free_list(list *l) {
    for (int i = 0; i < l->count; i++) free_entry(l->items[i]);
    nn_release(l->items);
}

static void free_uses(uses *all) {
    uses *d, *next;
    HASH_ITER(hh, all, d, next) {
        HASH_DEL(all, d);
        nn_release(d);
    }
}

static void free_kept(kept *k) {
    while (k != NULL) {
        kept *next = k->next;
        k->release(k->thing);
        nn_release(k);
        k = next;
    }
}

void nn_model_free(nn_model *model) {
    if (model == NULL) return;
    HASH_CLEAR(hh, model->names);
    free_list(&model->parameters);
    free_list(&model->buffers);
    free_uses(model->uses);
    free_kept(model->kept);
    nn_release(model);
}

ag_tape *nn_model_tape(const nn_model *model) { return model == NULL ? NULL : model->tape; }

static bool is_fine(const nn_model *model) { return model != NULL && ag_tape_status(model->tape) == AG_OK; }

static ag_var inert(const nn_model *model) { return model == NULL ? ag_num(0) : ag_constant(model->tape, 0); }

/* ---- making them ------------------------------------------------------------------------------------------------ */

static entry *find(const nn_model *model, const char *name) {
    entry *e = NULL;
    if (model != NULL && name != NULL) HASH_FIND(hh, model->names, name, strlen(name), e);
    return e;
}

/* FNV-1a (Fowler, Noll, Vo), so that a name's numbers depend on it and not on the others. */
uint64_t nn_model_key(const nn_model *model, const char *name) {
    if (model == NULL || name == NULL) return 0;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (; *name != '\0'; name++) hash = (hash ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    nn_random random = {model->seed};
    return nn_random_bits(&random) ^ hash;
}

static bool check_initial(const nn_model *model, const char *what, const char *name, nn_initial initial, double gain) {
    if (initial < NN_DEFAULT || initial >= NN_INITIALS)
        ag_fail(model->tape, AG_ERR_VALUE, "%s %.80s: no initial values of kind %d", what, name, (int)initial);
    else if (!isfinite(gain)) ag_fail(model->tape, AG_ERR_VALUE, "%s %.80s: the gain is %g", what, name, gain);
    return ag_tape_status(model->tape) == AG_OK;
}

/* The number of elements, or 0 after an error. */
static int64_t checked_count(const nn_model *model, const char *what, const char *name, ag_shape shape) {
    int64_t count = 1;
    if (name == NULL || *name == '\0') ag_fail(model->tape, AG_ERR_VALUE, "%s: no name", what);
    else if (find(model, name) != NULL)
        ag_fail(model->tape, AG_ERR_VALUE, "%s: the name \"%.80s\" is taken", what, name);
    else if (shape.rank < 0 || shape.rank > AG_MAX_RANK)
        ag_fail(model->tape, AG_ERR_SHAPE, "%s %.80s: rank %d, not 0 to %d", what, name, shape.rank, AG_MAX_RANK);
    else
        for (int i = 0; i < shape.rank && count > 0; i++) {
            if (shape.dim[i] < 1 || count > INT64_MAX / 8 / shape.dim[i]) {
                ag_fail(model->tape, AG_ERR_SHAPE, "%s %.80s: dimension %d is %" PRId64, what, name, i + 1,
                        shape.dim[i]);
                return 0;
            }
            count *= shape.dim[i];
        }
    return ag_tape_status(model->tape) == AG_OK ? count : 0;
}

static bool make_room(list *l) {
    if (l->count < l->capacity) return true;
    int capacity = l->capacity > 0 ? 2 * l->capacity : 8;
    entry **more = nn_allocate((size_t)capacity, sizeof *more);
    if (more == NULL) return false;
    if (l->count > 0) memcpy(more, l->items, (size_t)l->count * sizeof *more);
    nn_release(l->items);
    l->items = more;
    l->capacity = capacity;
    return true;
}

/* Puts an entry into its list and the table of names; false for lack of memory. */
static bool add(nn_model *model, list *l, entry *e) {
    if (!make_room(l)) return false;
    HASH_ADD_KEYPTR(hh, model->names, e->name, strlen(e->name), e);
    if (find(model, e->name) != e) return false;
    l->items[l->count++] = e;
    return true;
}

static double *initial_values(const nn_model *model, const char *name, ag_shape shape, nn_initial initial, double gain,
                              int64_t count) {
    double *values = nn_allocate((size_t)count, sizeof *values);
    if (values != NULL &&
        nn_fill_initial(nn_model_key(model, name), shape, initial, gain != 0 ? gain : 1, values, count))
        return values;
    ag_fail(model->tape, AG_ERR_MEMORY, "%.80s: out of memory for %" PRId64 " numbers", name, count);
    nn_release(values);
    return NULL;
}

static entry *new_entry(const char *name, ag_shape shape, int64_t count, bool is_buffer) {
    entry *e = nn_allocate(1, sizeof *e);
    char *copy = nn_allocate(strlen(name) + 1, 1);
    if (e == NULL || copy == NULL) {
        nn_release(e);
        nn_release(copy);
        return NULL;
    }
    memcpy(copy, name, strlen(name) + 1);
    e->name = copy;
    e->shape = shape;
    e->count = count;
    e->is_buffer = is_buffer;
    e->next = ag_num(0);
    return e;
}

static ag_var new_var(nn_model *model, const char *name, ag_shape shape, nn_initial initial, double gain,
                      bool is_buffer) {
    const char *what = is_buffer ? "buffer" : "parameter";
    if (!is_fine(model)) return inert(model);
    int64_t count = checked_count(model, what, name, shape);
    if (count == 0 || !check_initial(model, what, name, initial, gain)) return inert(model);
    double *values = initial_values(model, name, shape, initial, gain, count);
    if (values == NULL) return inert(model);
    ag_var var = shape.rank == 0 ? ag_input(model->tape, *values) : ag_tensor(model->tape, values, shape);
    nn_release(values);
    ag_name(var, name);
    if (!is_buffer) ag_watch(var);
    if (!is_fine(model)) return inert(model);
    entry *e = new_entry(name, shape, count, is_buffer);
    if (e == NULL || !add(model, is_buffer ? &model->buffers : &model->parameters, e)) {
        ag_fail(model->tape, AG_ERR_MEMORY, "%s %.80s: out of memory", what, name);
        free_entry(e);
        return inert(model);
    }
    e->var = var;
    return var;
}

ag_var nn_parameter(nn_model *model, const char *name, ag_shape shape, nn_initial initial) {
    return new_var(model, name, shape, initial, 1, false);
}

ag_var nn_parameter_with(nn_model *model, const char *name, ag_shape shape, nn_initial initial, double gain) {
    return new_var(model, name, shape, initial, gain, false);
}

ag_var nn_buffer(nn_model *model, const char *name, ag_shape shape, nn_initial initial) {
    return new_var(model, name, shape, initial, 1, true);
}

void nn_initialise(nn_model *model, const char *name, nn_initial initial, double gain) {
    if (!is_fine(model)) return;
    const entry *e = find(model, name);
    if (e == NULL) {
        ag_fail(model->tape, AG_ERR_VALUE, "initialise: there is no \"%.80s\"", name == NULL ? "" : name);
        return;
    }
    if (!check_initial(model, "initialise", name, initial, gain)) return;
    double *values = initial_values(model, name, e->shape, initial, gain, e->count);
    if (values != NULL) ag_set(e->var, values);
    nn_release(values);
}

/* ---- finding them ----------------------------------------------------------------------------------------------- */

static ag_var at(const nn_model *model, const list *l, const char *what, int i) {
    if (i >= 0 && i < l->count) return l->items[i]->var;
    ag_fail(model->tape, AG_ERR_VALUE, "%s: there is no number %d of %d", what, i, l->count);
    return inert(model);
}

static ag_var find_kind(const nn_model *model, bool is_buffer, const char *name) {
    if (model == NULL) return ag_num(0);
    const entry *e = find(model, name);
    if (e != NULL && e->is_buffer == is_buffer) return e->var;
    ag_fail(model->tape, AG_ERR_VALUE, "%s: there is none with the name \"%.80s\"", is_buffer ? "buffer" : "parameter",
            name == NULL ? "" : name);
    return inert(model);
}

int nn_parameter_count(const nn_model *model) { return model == NULL ? 0 : model->parameters.count; }
int nn_buffer_count(const nn_model *model) { return model == NULL ? 0 : model->buffers.count; }

const char *nn_parameter_name(const nn_model *model, int i) {
    return i >= 0 && i < nn_parameter_count(model) ? model->parameters.items[i]->name : NULL;
}
const char *nn_buffer_name(const nn_model *model, int i) {
    return i >= 0 && i < nn_buffer_count(model) ? model->buffers.items[i]->name : NULL;
}

ag_var nn_parameter_at(const nn_model *model, int i) {
    return model == NULL ? ag_num(0) : at(model, &model->parameters, "parameter", i);
}
ag_var nn_buffer_at(const nn_model *model, int i) {
    return model == NULL ? ag_num(0) : at(model, &model->buffers, "buffer", i);
}

ag_var nn_parameter_find(const nn_model *model, const char *name) { return find_kind(model, false, name); }
ag_var nn_buffer_find(const nn_model *model, const char *name) { return find_kind(model, true, name); }

bool nn_model_has(const nn_model *model, const char *name) { return find(model, name) != NULL; }

int64_t nn_model_size(const nn_model *model) {
    int64_t size = 0;
    for (int i = 0; i < nn_parameter_count(model); i++) size += model->parameters.items[i]->count;
    return size;
}

/* ---- the state of a step ---------------------------------------------------------------------------------------- */

static entry *find_buffer(const nn_model *model, ag_var buffer) {
    for (int i = 0; i < nn_buffer_count(model); i++) {
        entry *e = model->buffers.items[i];
        if (ag_tape_of(e->var) == ag_tape_of(buffer) && e->var.place == buffer.place) return e;
    }
    return NULL;
}

void nn_model_update(nn_model *model, ag_var buffer, ag_var value) {
    if (!is_fine(model) || ag_is_inert(value)) return;
    entry *e = find_buffer(model, buffer);
    if (e == NULL) ag_fail(model->tape, AG_ERR_VALUE, "update: the var is no buffer of the model");
    else if (ag_tape_of(value) == NULL) ag_fail(model->tape, AG_ERR_VALUE, "update of %.80s: a plain number", e->name);
    else if (ag_tape_of(value) != model->tape)
        ag_fail(model->tape, AG_ERR_TAPE, "update of %.80s: another tape", e->name);
    else if (!nn_same_shape(ag_shape_of(value), e->shape))
        ag_fail(model->tape, AG_ERR_SHAPE, "update of %.80s: its value has shape %s, the buffer %s", e->name,
                nn_show_shape(ag_shape_of(value)).text, nn_show_shape(e->shape).text);
    else e->next = ag_contiguous(value);
}

ag_var nn_buffer_latest(const nn_model *model, ag_var buffer) {
    const entry *e = find_buffer(model, buffer);
    return e == NULL || ag_is_zero(e->next) ? buffer : e->next;
}

ag_var nn_buffer_update_at(const nn_model *model, int i) {
    return i >= 0 && i < nn_buffer_count(model) ? model->buffers.items[i]->next : ag_num(0);
}

/* In any state of the tape. */
static void set_clock(const nn_model *model, double now) {
    void *clock = ag_data(model->clock);
    if (clock == NULL) return;
    if (ag_tape_type(model->tape) == AG_F64) *(double *)clock = now;
    else *(float *)clock = (float)now;
}

static void advance(const nn_model *model, double ticks) {
    double now = ag_value(model->clock), last = ag_tape_type(model->tape) == AG_F64 ? 0x1p53 : 0x1p24;
    double left = last - now; /* beyond it there are no more whole numbers one apart */
    set_clock(model, ticks < left ? now + ticks : ticks - left);
}

void nn_model_forget_vars(nn_model *model) {
    if (model != NULL) model->forward++;
    for (int i = 0; i < nn_buffer_count(model); i++) model->buffers.items[i]->next = ag_num(0);
}

void nn_model_discard(nn_model *model) {
    nn_model_forget_vars(model);
    for (int i = 0; i < nn_buffer_count(model); i++) model->buffers.items[i]->is_staged = false;
    if (model != NULL) model->more = 0;
}

static size_t bytes_of(const nn_model *model, const entry *e) {
    return (size_t)e->count * (ag_tape_type(model->tape) == AG_F64 ? sizeof(double) : sizeof(float));
}

bool nn_model_stage(nn_model *model, int i, const void *value) {
    entry *e = model->buffers.items[i];
    if (e->staged == NULL) e->staged = nn_allocate((size_t)e->count, sizeof(double));
    if (e->staged == NULL) {
        ag_fail(model->tape, AG_ERR_MEMORY, "update of %.80s: out of memory", e->name);
        return false;
    }
    memcpy(e->is_swapped ? ag_data(e->var) : e->staged, value, bytes_of(model, e));
    e->is_staged = true;
    return true;
}

static void swap(const nn_model *model, entry *e) {
    size_t bytes = bytes_of(model, e);
    char *x = ag_data(e->var), *y = e->staged, part[256];
    if (x == NULL) return;
    for (size_t n; bytes > 0; x += n, y += n, bytes -= n) {
        n = bytes < sizeof part ? bytes : sizeof part;
        memcpy(part, x, n);
        memcpy(x, y, n);
        memcpy(y, part, n);
    }
    e->is_swapped = !e->is_swapped;
}

void nn_model_begin_more(nn_model *model) {
    for (int i = 0; i < nn_buffer_count(model); i++)
        if (model->buffers.items[i]->is_staged) swap(model, model->buffers.items[i]);
    model->more++;
    nn_model_begin_again(model);
}

void nn_model_begin_again(nn_model *model) {
    model->committed_clock = ag_value(model->clock);
    model->is_ahead = true;
    advance(model, model->more);
}

void nn_model_end_batch(nn_model *model) {
    for (int i = 0; i < nn_buffer_count(model); i++)
        if (model->buffers.items[i]->is_swapped) swap(model, model->buffers.items[i]);
    if (model->is_ahead) set_clock(model, model->committed_clock);
    model->is_ahead = false;
}

/* Values are taken from where they lie, so that nothing is allocated. */
static void commit(const nn_model *model, const entry *e) {
    const void *from = ag_is_zero(e->next) ? e->staged : ag_data(e->next);
    void *to = ag_data(e->var);
    if (from != NULL && to != NULL) memcpy(to, from, bytes_of(model, e));
    else
        ag_fail(model->tape, AG_ERR_STALE, "commit of %.80s: the tape was rewound before its next value was committed",
                e->name);
}

void nn_model_commit(nn_model *model) {
    if (!is_fine(model)) return;
    for (int i = 0; i < model->buffers.count; i++) {
        const entry *e = model->buffers.items[i];
        if (e->is_staged || !ag_is_zero(e->next)) commit(model, e);
    }
    double ticks = 1 + model->more;
    nn_model_discard(model);
    advance(model, ticks);
}

void nn_model_train(nn_model *model, bool training) {
    if (model != NULL) model->training = training;
}

bool nn_model_training(const nn_model *model) { return model != NULL && model->training; }

ag_var nn_model_clock(const nn_model *model) { return model == NULL ? ag_num(0) : model->clock; }

static uses *find_uses(nn_model *model, uint64_t key) {
    uses *d = NULL, *added = NULL;
    HASH_FIND(hh, model->uses, &key, sizeof key, d);
    if (d != NULL) return d;
    d = nn_allocate(1, sizeof *d);
    if (d != NULL) {
        d->key = key;
        HASH_ADD(hh, model->uses, key, sizeof key, d);
        HASH_FIND(hh, model->uses, &key, sizeof key, added);
    }
    if (added != NULL) return added;
    ag_fail(model->tape, AG_ERR_MEMORY, "random numbers: out of memory");
    nn_release(d);
    return NULL;
}

uint64_t nn_model_next_key(nn_model *model, uint64_t key) {
    uses *d = find_uses(model, key);
    if (d == NULL) return key;
    if (d->forward != model->forward) d->count = 0;
    d->forward = model->forward;
    nn_random number = {d->count++};
    return number.state == 0 ? key : key ^ nn_random_bits(&number);
}

/* ---- what belongs to layers ------------------------------------------------------------------------------------- */

void *nn_model_kept(const nn_model *model, const char *key) {
    for (const kept *k = model->kept; k != NULL; k = k->next)
        if (strcmp(k->key, key) == 0) return k->thing;
    return NULL;
}

void *nn_model_keep(nn_model *model, const char *key, void *thing, void (*release)(void *thing)) {
    kept *k = nn_allocate(1, sizeof *k);
    if (k == NULL) {
        ag_fail(model->tape, AG_ERR_MEMORY, "%s: out of memory", key != NULL ? key : "model");
        release(thing);
        return NULL;
    }
    if (key != NULL) snprintf(k->key, sizeof k->key, "%s", key);
    k->thing = thing;
    k->release = release;
    k->next = model->kept;
    model->kept = k;
    return thing;
}

static void release_program(void *program) { ag_program_free(program); }

ag_program *nn_model_keep_program(nn_model *model, const char *key, ag_program *program) {
    if (ag_program_status(program) == AG_OK) return nn_model_keep(model, key, program, release_program);
    ag_fail(model->tape, ag_program_status(program), "%s: %s", key, ag_program_message(program));
    ag_program_free(program);
    return NULL;
}
