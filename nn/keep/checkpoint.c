/* Checkpoints: all state of training as one file.
 *
 * The model's tensors have their own names, so that other programs read a checkpoint as weights. Everything else is
 * "checkpoint/NAME/ARRAY", but for the clock, "checkpoint/clock". */
#include "nn/keep/keep_impl.h"

#include <inttypes.h>
#include <string.h>
#include <zlib.h>

/* ---- the sum ---- */

static uLong add_text(uLong sum, const char *text) { return crc32_z(sum, (const Bytef *)text, strlen(text) + 1); }

static uLong add_header(uLong sum, const nn_tensor *t) {
    char dimension[24];
    sum = add_text(add_text(sum, t->name), nn_type_name(t->type));
    for (int i = 0; i < t->shape.rank; i++) {
        (void)snprintf(dimension, sizeof dimension, "%" PRId64, t->shape.dim[i]);
        sum = add_text(sum, dimension);
    }
    return sum;
}

nn_sum nn_sum_of(const nn_tensor *const *by_name, int64_t count, const nn_text_pair *metadata, int64_t metadata_count,
                 bool native) {
    uLong sum = crc32_z(0, NULL, 0);
    for (int64_t i = 0; i < metadata_count; i++)
        if (strcmp(metadata[i].key, NN_CHECKPOINT_KEY) != 0)
            sum = add_text(add_text(sum, metadata[i].key), metadata[i].value);
    for (int64_t i = 0; i < count; i++) {
        const nn_tensor *t = by_name[i];
        size_t size = nn_type_size(t->type), bytes = (size_t)nn_elements(t->shape, size) * size;
        sum = add_header(sum, t);
        if (!native || !nn_big_endian()) {
            if (bytes > 0) sum = crc32_z(sum, t->data, bytes);
            continue;
        }
        for (size_t at = 0; at < bytes; at += size) {
            uint8_t number[8];
            memcpy(number, (const uint8_t *)t->data + at, size);
            nn_swap_bytes(number, 1, size);
            sum = crc32_z(sum, number, size);
        }
    }
    nn_sum text;
    (void)snprintf(text.text, sizeof text.text, "%08lx", (unsigned long)sum & 0xffffffff);
    return text;
}

/* ---- what is kept, as arrays ---- */

static bool state_of(const nn_kept *k, int i, nn_state *state) {
    if (k->optimiser != NULL) return nn_optimiser_state(k->optimiser, i, state);
    if (k->average != NULL) return nn_average_state(k->average, i, state);
    if (k->plateau != NULL) return nn_plateau_state(k->plateau, i, state);
    if (k->lbfgs != NULL) return nn_lbfgs_state(k->lbfgs, i, state);
    return k->state != NULL && k->state(k->owner, i, state);
}

/* A place called checkpoint/NAME/ARRAY. */
static nn_place *add(nn_places *places, const char *name, const char *array, nn_type type, ag_shape shape, void *data,
                     nn_error *e) {
    static const char prefix[] = NN_CHECKPOINT_PREFIX;
    size_t room = sizeof prefix + strlen(name) + strlen(array) + 1;
    char *text = nn_take(room, 1, "checkpoint", e);
    if (text == NULL) return NULL;
    (void)snprintf(text, room, "%s%s%s%s", prefix, name, *array != '\0' ? "/" : "", array);
    nn_place *place = nn_places_add(places, text, e);
    nn_release(text);
    if (place == NULL) return NULL;
    place->type = place->stored = type;
    place->shape = shape;
    place->data = data;
    return place;
}

/* Where a loader is; the seed's bits are those of the first number. */
static void where(const nn_loader *loader, int64_t numbers[3]) {
    nn_loader_state s = nn_loader_where(loader);
    memcpy(numbers, &s.seed, sizeof s.seed);
    numbers[1] = s.epoch;
    numbers[2] = s.position;
}

static void seek(nn_loader *loader, const int64_t numbers[3], nn_error *e) {
    nn_loader_state s = {.epoch = numbers[1], .position = numbers[2]};
    memcpy(&s.seed, numbers, sizeof s.seed);
    nn_loader_seek(loader, s, e);
}

/* What cannot be written to at once: a loader's place, an array of any shape. One for each thing that is kept. */
typedef struct staged {
    int64_t where[3], before[3];
    int64_t options[NN_LOADER_COUNT]; /* of a loader, as they were saved */
    nn_array array;
} staged;

static void add_array(nn_places *places, const nn_kept *k, staged *s, const nn_safetensors *file, nn_error *e) {
    nn_array *a = k->array;
    ag_shape none = {1, {0}};
    nn_place *place = add(places, k->name, "array", a->type, a->data != NULL ? a->shape : none, a->data, e);
    if (place == NULL || file == NULL) return;
    if (nn_safetensors_find(file, place->name) == NULL) return; /* which is an error later */
    s->array = nn_safetensors_read(file, place->name, e);
    place->type = place->stored = s->array.type;
    place->shape = s->array.shape;
    place->data = s->array.data;
}

/* `file`: the one that is read, or NULL. */
static void add_kept(nn_places *places, const nn_kept *k, staged *s, const nn_safetensors *file, nn_error *e) {
    nn_state state;
    if (k->name == NULL || *k->name == '\0') nn_fail(e, AG_ERR_VALUE, "checkpoint: something to keep has no name");
    else if ((k->numbers != NULL || k->integers != NULL) && k->count < 0)
        nn_fail(e, AG_ERR_VALUE, "checkpoint: \"%.80s\" has %" PRId64 " numbers", k->name, k->count);
    if (nn_ok(e) && k->array != NULL) (void)nn_check_array(k->array, "checkpoint", e);
    for (int i = 0; nn_ok(e) && state_of(k, i, &state); i++)
        (void)add(places, k->name, state.name, state.type == AG_F64 ? NN_F64 : NN_F32, state.shape, state.data, e);
    if (nn_ok(e) && k->loader != NULL) {
        where(k->loader, s->where);
        (void)add(places, k->name, "where", NN_I64, AG_SHAPE(3), s->where, e);
        nn_loader_numbers(k->loader, s->options);
        (void)add(places, k->name, "options", NN_I64, AG_SHAPE(NN_LOADER_COUNT), s->options, e);
    }
    if (nn_ok(e) && k->numbers != NULL)
        (void)add(places, k->name, "numbers", NN_F64, AG_SHAPE(k->count), k->numbers, e);
    if (nn_ok(e) && k->integers != NULL)
        (void)add(places, k->name, "integers", NN_I64, AG_SHAPE(k->count), k->integers, e);
    if (nn_ok(e) && k->array != NULL) add_array(places, k, s, file, e);
}

/* The model, the clock, and what is kept. */
static void add_all(nn_places *places, const nn_model *model, const nn_kept *kept, int count, staged *s,
                    const nn_safetensors *file, nn_error *e) {
    nn_places_of_model(places, model, e);
    for (int64_t i = 0; nn_ok(e) && i < places->count; i++)
        if (strncmp(places->items[i].name, NN_CHECKPOINT_PREFIX, sizeof NN_CHECKPOINT_PREFIX - 1) == 0)
            nn_fail(e, AG_ERR_VALUE, "checkpoint: no name may be like \"%.80s\"", places->items[i].name);
    if (!nn_ok(e)) return;
    ag_var clock = nn_model_clock(model);
    nn_type type = ag_tape_type(nn_model_tape(model)) == AG_F64 ? NN_F64 : NN_F32;
    (void)add(places, "clock", "", type, (ag_shape){.rank = 0}, ag_data(clock), e);
    for (int i = 0; nn_ok(e) && i < count; i++) add_kept(places, &kept[i], &s[i], file, e);
}

/* ---- files ---- */

static void check_given(const char *path, const nn_kept *kept, int count, nn_error *e) {
    (void)nn_given(path, "the path of a checkpoint", e);
    if (count < 0) nn_fail(e, AG_ERR_VALUE, "%.200s: %d things to keep", path, count);
    if (count > 0) (void)nn_given(kept, "checkpoint: the array of what is kept", e);
}

void nn_checkpoint_save(const nn_model *model, const char *path, const nn_kept *kept, int count, nn_error *e) {
    nn_places places = {.count = 0};
    check_given(path, kept, count, e);
    staged *s = nn_take((size_t)count, sizeof *s, path, e);
    if (nn_ok(e)) add_all(&places, model, kept, count, s, NULL, e);
    if (nn_ok(e)) nn_places_write(&places, path, true, e);
    nn_places_free(&places);
    nn_release(s);
}

void nn_check_sum(const nn_safetensors *file, const char *path, nn_error *e) {
    const char *sum = nn_ok(e) ? nn_safetensors_metadata(file, NN_CHECKPOINT_KEY) : NULL;
    if (sum == NULL) nn_fail(e, AG_ERR_VALUE, "%.200s: not a checkpoint", path);
    else {
        nn_sum now = nn_sum_of((const nn_tensor *const *)file->by_name_, file->count, file->metadata,
                               file->metadata_count, false);
        if (strcmp(sum, now.text) != 0)
            nn_fail(e, AG_ERR_VALUE, "%.200s: damaged: its numbers or names are not those that were written", path);
    }
}

static const nn_place *find_data(const nn_places *places, const void *data) {
    int64_t i = 0;
    while (places->items[i].data != data) i++;
    return &places->items[i];
}

/* Training goes on as if it had not been interrupted only if the batches are the same. */
static void check_options(const nn_kept *k, staged *s, const nn_places *places, nn_error *e) {
    int64_t now[NN_LOADER_COUNT];
    nn_loader_numbers(k->loader, now);
    nn_place_take(find_data(places, s->options));
    for (int i = 0; i < NN_LOADER_COUNT; i++)
        if (s->options[i] != now[i])
            nn_fail(e, AG_ERR_VALUE, "checkpoint: the %s of the loader \"%.80s\" is %" PRId64 ", and was %" PRId64,
                    nn_loader_number_name(i), k->name, now[i], s->options[i]);
}

/* Loaders to where they shall be; after an error, all are where they were. */
static void seek_all(const nn_kept *kept, int count, staged *s, const nn_places *places, nn_error *e) {
    int n = 0;
    for (; n < count && nn_ok(e); n++) {
        if (kept[n].loader == NULL) continue;
        check_options(&kept[n], &s[n], places, e);
        memcpy(s[n].before, s[n].where, sizeof s[n].before);
        nn_place_take(find_data(places, s[n].where));
        seek(kept[n].loader, s[n].where, e);
    }
    for (int i = 0; i < n && !nn_ok(e); i++) {
        nn_error none = {.status = AG_OK};
        if (kept[i].loader != NULL) seek(kept[i].loader, s[i].before, &none);
    }
}

void nn_checkpoint_load_from(nn_model *model, const nn_safetensors *file, const char *path, const nn_kept *kept,
                             int count, nn_error *e) {
    nn_places places = {.count = 0};
    nn_matching m = {.path = path, .what = "what is trained", .exact = true};
    staged *s = nn_take((size_t)count, sizeof *s, path, e);
    nn_check_sum(file, path, e);
    if (nn_ok(e)) add_all(&places, model, kept, count, s, file, e);
    nn_places_match(&places, file, &m, e);
    if (nn_ok(e)) seek_all(kept, count, s, &places, e);
    if (nn_ok(e)) (void)nn_places_take(&places);
    for (int i = 0; s != NULL && i < count; i++) {
        if (nn_ok(e) && kept[i].array != NULL) {
            nn_array_free(kept[i].array);
            *kept[i].array = s[i].array;
        } else {
            nn_array_free(&s[i].array);
        }
    }
    nn_places_free(&places);
    nn_release(s);
}

void nn_checkpoint_load(nn_model *model, const char *path, const nn_kept *kept, int count, nn_error *e) {
    check_given(path, kept, count, e);
    nn_safetensors file = nn_safetensors_open(path, e);
    nn_checkpoint_load_from(model, &file, path, kept, count, e);
    nn_safetensors_close(&file);
}
