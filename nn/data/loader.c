/* Batches, in a shuffled order, prepared by threads while the caller works on the one before.
 *
 * Batches are numbered. Number k goes through slot k % slots, which is free, then being filled, then ready, then with the
 * caller; whoever is free takes the next number. So a batch depends on its number alone, and comes in its turn. */
#include "nn/data/data_impl.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>

enum { MOST_THREADS = 64 };

/* Which samples: `position` to `position + count` of an epoch's order. */
typedef struct ticket {
    int64_t epoch, position, count;
} ticket;

typedef struct slot {
    enum { FREE, FILLING, READY } state;
    ticket ticket;
    nn_batch batch;
    int64_t *rows;
    char *sample; /* room for the largest sample that is augmented */
    double *wide; /* and for the largest that is scaled before it is rounded */
    nn_error error;
} slot;

struct nn_loader {
    nn_dataset set; /* rows owned */
    nn_loader_options options;
    nn_loader_state state;             /* of what the caller has got */
    int64_t next_epoch, next_position; /* of the next ticket */
    uint64_t taken, handed;            /* tickets taken; batches handed out */
    bool holding;                      /* the caller has the batch before `handed` */
    int slots, threads;                /* threads that run */
    bool stop;
    slot slot[MOST_THREADS + 1];
    pthread_t thread[MOST_THREADS];
    pthread_mutex_t lock; /* all of the above, but for the content of a slot that is FILLING */
    pthread_cond_t ready, free;
};

/* ---- which samples ---- */

/* What is left of an epoch from a position on: the next batch's samples, 0 at its end. */
static int64_t next_count(const nn_loader *l, int64_t position) {
    int64_t left = l->set.count - position;
    if (left >= l->options.batch) return l->options.batch;
    return l->options.drop_last ? 0 : left;
}

static ticket take_ticket(nn_loader *l) {
    if (next_count(l, l->next_position) == 0) {
        l->next_epoch++;
        l->next_position = 0;
    }
    ticket t = {l->next_epoch, l->next_position, next_count(l, l->next_position)};
    l->next_position += t.count;
    l->taken++;
    return t;
}

/* ---- a batch ---- */

/* Whether a float would not hold all numbers of a field, which is to be scaled: seconds since 1970, say. */
static bool is_wide(const nn_loader *l, int i) {
    nn_type type = l->set.fields[i].type;
    return l->options.fields[i].scale != NULL && l->options.fields[i].type == NN_F32 && type != NN_F32 &&
           nn_type_size(type) >= sizeof(float);
}

static void fill_field(const nn_loader *l, slot *s, int i, nn_error *e) {
    const struct nn_field *f = &l->set.fields[i];
    const nn_augment *augment = l->options.fields[i].augment;
    const nn_scale *scale = l->options.fields[i].scale;
    nn_array *to = &s->batch.fields[i];
    int64_t elements = 1;
    for (int k = 1; k < to->shape.rank; k++) elements *= to->shape.dim[k];
    size_t size = (size_t)elements * nn_type_size(to->type);
    bool wide = is_wide(l, i);
    for (int64_t n = 0; n < s->batch.count; n++) {
        const char *from = f->data + s->rows[n] * f->stride;
        char *place = (char *)to->data + (size_t)n * size;
        if (augment != NULL) {
            uint64_t key = nn_mix(nn_mix(l->state.seed + (uint64_t)i, (uint64_t)s->ticket.epoch), (uint64_t)s->rows[n]);
            nn_augment_sample(augment, f->shape, nn_type_size(f->type), from, s->sample, key);
            from = s->sample;
        }
        int64_t bad = nn_convert(f->type, from, wide ? NN_F64 : to->type, wide ? (void *)s->wide : place, elements);
        if (wide && bad < 0) {
            nn_scale_apply(scale, NN_F64, s->wide, 1, elements, e);
            bad = nn_convert(NN_F64, s->wide, NN_F32, place, elements);
        }
        if (bad >= 0) {
            char text[32];
            nn_number_text(f->type, from + (size_t)bad * nn_type_size(f->type), text);
            nn_fail(e, AG_ERR_VALUE, "batch: field %d of row %" PRId64 " has %s, which %s cannot hold", i, s->rows[n],
                    text, nn_type_name(to->type));
            return;
        }
    }
    if (scale != NULL && !wide) nn_scale_apply(scale, to->type, to->data, s->batch.count, elements, e);
}

static void fill(const nn_loader *l, slot *s) {
    uint64_t key = nn_mix(l->state.seed, (uint64_t)s->ticket.epoch);
    s->batch.count = s->ticket.count;
    for (int64_t n = 0; n < s->ticket.count; n++) {
        int64_t i = s->ticket.position + n;
        s->rows[n] = nn_row(&l->set, l->options.shuffle ? nn_shuffled(i, l->set.count, key) : i);
    }
    for (int i = 0; nn_ok(&s->error) && i < l->set.field_count; i++) {
        s->batch.fields[i].shape.dim[0] = s->ticket.count;
        fill_field(l, s, i, &s->error);
    }
    if (nn_ok(&s->error) && l->options.hook != NULL) l->options.hook(l->options.context, &s->batch, &s->error);
}

/* Takes the next number and fills its slot, which is free. Called and left with the lock held. */
static void fill_next(nn_loader *l) {
    slot *s = &l->slot[l->taken % (uint64_t)l->slots];
    s->ticket = take_ticket(l);
    s->state = FILLING;
    s->error = (nn_error){0};
    (void)pthread_mutex_unlock(&l->lock);
    fill(l, s);
    (void)pthread_mutex_lock(&l->lock);
    s->state = READY;
}

static void *work(void *loader) {
    nn_loader *l = loader;
    (void)pthread_mutex_lock(&l->lock);
    while (!l->stop) {
        if (l->slot[l->taken % (uint64_t)l->slots].state == FREE) {
            fill_next(l);
            (void)pthread_cond_broadcast(&l->ready);
        } else {
            (void)pthread_cond_wait(&l->free, &l->lock);
        }
    }
    (void)pthread_mutex_unlock(&l->lock);
    return NULL;
}

static void start(nn_loader *l) {
    int wanted = l->slots - 1;
    while (l->threads < wanted && pthread_create(&l->thread[l->threads], NULL, work, l) == 0) l->threads++;
}

/* Forgets what was prepared, too. */
static void stop(nn_loader *l) {
    (void)pthread_mutex_lock(&l->lock);
    l->stop = true;
    (void)pthread_cond_broadcast(&l->free);
    (void)pthread_mutex_unlock(&l->lock);
    for (; l->threads > 0; l->threads--) (void)pthread_join(l->thread[l->threads - 1], NULL);
    for (int i = 0; i < l->slots; i++) l->slot[i].state = FREE;
    l->stop = l->holding = false;
    l->taken = l->handed = 0;
}

/* ---- the caller's side ---- */

bool nn_loader_next(nn_loader *l, nn_batch *batch, nn_error *e) {
    if (batch != NULL) *batch = (nn_batch){0};
    if (!nn_given(l, "next batch: the loader", e) || !nn_given(batch, "next batch: the batch", e)) return false;
    (void)pthread_mutex_lock(&l->lock);
    if (l->holding) {
        l->slot[(l->handed - 1) % (uint64_t)l->slots].state = FREE;
        l->holding = false;
        (void)pthread_cond_signal(&l->free);
    }
    slot *s = &l->slot[l->handed % (uint64_t)l->slots];
    int64_t count = next_count(l, l->state.position);
    if (count == 0) {
        l->state.epoch++;
        l->state.position = 0;
    } else {
        if (l->threads == 0 && l->taken == l->handed) start(l);
        while (s->state != READY) {
            if (l->threads == 0) fill_next(l);
            else (void)pthread_cond_wait(&l->ready, &l->lock);
        }
        if (nn_ok(&s->error)) {
            *batch = s->batch;
            l->state.position += count;
            l->handed++;
            l->holding = true;
        } else {
            *e = s->error; /* asked again, it is the same */
        }
    }
    (void)pthread_mutex_unlock(&l->lock);
    return l->holding;
}

#define X(name, number) number,
void nn_loader_numbers(const nn_loader *l, int64_t numbers[NN_LOADER_COUNT]) {
    const int64_t all[] = {NN_LOADER_NUMBERS(X)};
    memcpy(numbers, all, sizeof all);
}
#undef X

const char *nn_loader_number_name(int i) {
#define X(name, number) name,
    static const char *const names[] = {NN_LOADER_NUMBERS(X)};
#undef X
    return names[i];
}

int64_t nn_loader_batches(const nn_loader *l) {
    if (l == NULL) return 0;
    return l->set.count / l->options.batch + (!l->options.drop_last && l->set.count % l->options.batch > 0);
}

bool nn_loader_is_at_end(const nn_loader *l) { return next_count(l, l->state.position) == 0; }

nn_loader_state nn_loader_where(const nn_loader *l) { return l != NULL ? l->state : (nn_loader_state){0}; }

void nn_loader_seek(nn_loader *l, nn_loader_state state, nn_error *e) {
    if (!nn_given(l, "seek: the loader", e)) return;
    if (state.epoch < 0 || state.epoch > INT64_MAX / 2 || state.position < 0 || state.position > l->set.count ||
        (state.position % l->options.batch != 0 && state.position != l->set.count)) {
        nn_fail(e, AG_ERR_VALUE,
                "seek: position %" PRId64 " of epoch %" PRId64 " is not where a batch of %" PRId64 " begins",
                state.position, state.epoch, l->options.batch);
        return;
    }
    stop(l);
    l->state = state;
    l->next_epoch = state.epoch;
    l->next_position = state.position;
}

/* ---- making one ---- */

static void check(const nn_dataset *set, const nn_loader_options *o, nn_error *e) {
    if (set->count < 1 || o->batch < 1) {
        nn_fail(e, AG_ERR_VALUE, "loader: %" PRId64 " samples in batches of %" PRId64, set->count, o->batch);
    } else if (o->drop_last && o->batch > set->count) {
        nn_fail(e, AG_ERR_VALUE, "loader: %" PRId64 " samples, all of which would be dropped: a batch has %" PRId64,
                set->count, o->batch);
    } else if (o->threads < -1 || o->threads > MOST_THREADS) {
        nn_fail(e, AG_ERR_VALUE, "loader: %d threads, more than %d or fewer than -1", o->threads, (int)MOST_THREADS);
    }
}

/* The array that a batch has for a field. */
static nn_array field_array(const nn_loader *l, int i, nn_error *e) {
    const struct nn_field *f = &l->set.fields[i];
    nn_type type = l->options.fields[i].type;
    ag_shape sample = nn_augmented_shape(l->options.fields[i].augment, f->shape, e), shape = {sample.rank + 1, {0}};
    if (nn_ok(e) && sample.rank >= AG_MAX_RANK) nn_fail(e, AG_ERR_SHAPE, "loader: field %d has too many dimensions", i);
    if (!nn_ok(e)) return (nn_array){.type = NN_F32};
    shape.dim[0] = l->options.batch < l->set.count ? l->options.batch : l->set.count;
    memcpy(shape.dim + 1, sample.dim, (size_t)sample.rank * sizeof *sample.dim);
    nn_array array = nn_array_new(type, shape, e);
    if (nn_ok(e) && l->options.fields[i].scale != NULL) /* fails now rather than in the first batch */
        nn_scale_apply(l->options.fields[i].scale, type, NULL, 0, nn_elements(sample, 1), e);
    return array;
}

static void make_slot(const nn_loader *l, slot *s, nn_error *e) {
    size_t largest = 0, widest = 0;
    s->rows = nn_take((size_t)(l->options.batch < l->set.count ? l->options.batch : l->set.count), sizeof *s->rows,
                      "loader", e);
    s->batch.rows = s->rows;
    s->batch.field_count = l->set.field_count;
    for (int i = 0; i < l->set.field_count; i++) {
        s->batch.fields[i] = field_array(l, i, e);
        if (!nn_ok(e)) return;
        size_t elements = (size_t)nn_array_count(&s->batch.fields[i]) / (size_t)s->batch.fields[i].shape.dim[0];
        size_t size = elements * nn_type_size(l->set.fields[i].type);
        if (l->options.fields[i].augment != NULL && size > largest) largest = size;
        if (is_wide(l, i) && elements > widest) widest = elements;
    }
    s->sample = nn_take(largest, 1, "loader", e);
    s->wide = nn_take(widest, sizeof *s->wide, "loader", e);
}

static bool make_locks(nn_loader *l, nn_error *e) {
    bool lock = pthread_mutex_init(&l->lock, NULL) == 0;
    bool ready = lock && pthread_cond_init(&l->ready, NULL) == 0;
    if (ready && pthread_cond_init(&l->free, NULL) == 0) return true;
    if (ready) (void)pthread_cond_destroy(&l->ready);
    if (lock) (void)pthread_mutex_destroy(&l->lock);
    nn_fail(e, AG_ERR_MEMORY, "loader: out of memory for locks");
    return false;
}

static void free_memory(nn_loader *l) {
    for (int i = 0; i < l->slots; i++) {
        nn_release(l->slot[i].rows);
        nn_release(l->slot[i].sample);
        nn_release(l->slot[i].wide);
        for (int k = 0; k < l->set.field_count; k++) nn_array_free(&l->slot[i].batch.fields[k]);
    }
    nn_dataset_free(&l->set);
    nn_release(l);
}

nn_loader *nn_loader_new(const nn_dataset *set, const nn_loader_options *options, nn_error *e) {
    if (nn_given(set, "loader: the data set", e) && nn_given(options, "loader: the pointer to options", e))
        check(set, options, e);
    nn_loader *l = nn_take(1, sizeof *l, "loader", e);
    if (l == NULL) return NULL;
    l->set = *set;
    l->options = *options;
    l->state.seed = options->seed;
    l->slots = options->threads < 0 ? 1 : options->threads == 0 ? 2 : options->threads + 1;
    if (set->rows != NULL) {
        l->set.rows = nn_take((size_t)set->count, sizeof *set->rows, "loader", e);
        if (nn_ok(e)) memcpy(l->set.rows, set->rows, (size_t)set->count * sizeof *set->rows);
    }
    for (int i = 0; nn_ok(e) && i < l->slots; i++) make_slot(l, &l->slot[i], e);
    if (nn_ok(e) && make_locks(l, e)) return l;
    free_memory(l);
    return NULL;
}

void nn_loader_free(nn_loader *l) {
    if (l == NULL) return;
    stop(l);
    (void)pthread_mutex_destroy(&l->lock);
    (void)pthread_cond_destroy(&l->ready);
    (void)pthread_cond_destroy(&l->free);
    free_memory(l);
}
