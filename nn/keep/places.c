/* Arrays in memory and the tensors of a file that they become, or are taken from. */
#include "nn/keep/keep_impl.h"
#include "nn/shapes.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

nn_place *nn_places_add(nn_places *places, const char *name, nn_error *e) {
    char *copy = nn_ok(e) ? nn_copy_text(name, strlen(name), e) : NULL;
    void *items = places->items;
    nn_place *place = nn_append(&items, &places->count, &places->room, sizeof *place, "places", e);
    places->items = items;
    if (place == NULL) nn_release(copy);
    else place->name = copy;
    return place;
}

void nn_places_free(nn_places *places) {
    for (int64_t i = 0; i < places->count; i++) nn_release(places->items[i].name);
    nn_release(places->items);
    *places = (nn_places){0};
}

/* ---- of a model ---- */

static bool is_counter(const char *name, ag_shape shape) {
    static const char end[] = "num_batches_tracked";
    size_t length = strlen(name), n = sizeof end - 1;
    if (shape.rank != 0 || length < n || strcmp(name + length - n, end) != 0) return false;
    return length == n || name[length - n - 1] == '.';
}

static void add_var(nn_places *places, const char *name, ag_var var, nn_error *e) {
    nn_place *place = nn_places_add(places, name, e);
    if (place == NULL) return;
    place->type = place->stored = ag_tape_type(ag_tape_of(var)) == AG_F64 ? NN_F64 : NN_F32;
    place->shape = ag_shape_of(var);
    place->data = ag_data(var);
}

void nn_places_of_model(nn_places *places, const nn_model *model, nn_error *e) {
    ag_tape *t = nn_model_tape(model);
    if (t == NULL) nn_fail(e, AG_ERR_VALUE, "there is no model");
    for (int i = 0; nn_ok(e) && i < nn_parameter_count(model); i++)
        add_var(places, nn_parameter_name(model, i), nn_parameter_at(model, i), e);
    for (int i = 0; nn_ok(e) && i < nn_buffer_count(model); i++) {
        add_var(places, nn_buffer_name(model, i), nn_buffer_at(model, i), e);
        if (!nn_ok(e)) return;
        nn_place *place = &places->items[places->count - 1];
        if (is_counter(place->name, place->shape)) place->stored = NN_I64;
    }
    if (ag_tape_status(t) != AG_OK) nn_fail(e, ag_tape_status(t), "the model: %s", ag_tape_message(t));
}

/* ---- writing ---- */

/* The data as it is stored; `number` has room for one. */
static const void *stored(const nn_place *place, const char *path, int64_t *number, nn_error *e) {
    if (place->stored == place->type) return place->data;
    if (nn_convert(place->type, place->data, place->stored, number, 1) >= 0)
        nn_fail(e, AG_ERR_VALUE, "%.160s: \"%.80s\" is %.17g, no whole number", path, place->name,
                nn_load_number(place->type, place->data));
    return number;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const nn_place *)a)->name, ((const nn_place *)b)->name);
}

static void put_in_order(nn_places *places) {
    if (places->count > 0) qsort(places->items, (size_t)places->count, sizeof *places->items, by_name);
}

void nn_places_write(nn_places *places, const char *path, bool is_checkpoint, nn_error *e) {
    size_t n = (size_t)places->count;
    nn_tensor *tensors = nn_take(n, sizeof *tensors, path, e);
    const nn_tensor **by_name_ = nn_take(n, sizeof *by_name_, path, e);
    int64_t *numbers = nn_take(n, sizeof *numbers, path, e);
    put_in_order(places);
    for (size_t i = 0; nn_ok(e) && i < n; i++) {
        const nn_place *p = &places->items[i];
        tensors[i] = (nn_tensor){p->name, p->stored, p->shape, stored(p, path, &numbers[i], e)};
        by_name_[i] = &tensors[i];
    }
    if (nn_ok(e)) {
        nn_text_pair texts[] = {{"format", "pt"}, {NN_CHECKPOINT_KEY, ""}}; /* some readers want the first */
        nn_sum sum = {""};
        if (is_checkpoint) sum = nn_sum_of((const nn_tensor *const *)by_name_, places->count, texts, 1, true);
        texts[1].value = sum.text;
        nn_safetensors_write(path, tensors, places->count, texts, is_checkpoint ? 2 : 1, e);
    }
    nn_release(tensors);
    nn_release((void *)by_name_);
    nn_release(numbers);
}

/* ---- matching ---- */

/* What is wrong, in words, as far as there is room for them. */
typedef struct differences {
    int64_t count, named;
    char text[240];
} differences;

static void differ(differences *d, const char *format, ...) AG_FORMAT_(2, 3);
static void differ(differences *d, const char *format, ...) {
    size_t at = strlen(d->text);
    va_list arguments;
    d->count++;
    if (d->named + 1 < d->count) return;
    va_start(arguments, format);
    int length = vsnprintf(d->text + at, sizeof d->text - at, format, arguments);
    va_end(arguments);
    if (d->count > 1 && (length < 0 || at + (size_t)length >= sizeof d->text)) d->text[at] = '\0';
    else d->named++;
}

static const char *comma(const differences *d) { return d->count > 0 ? "; " : ""; }

static nn_place *find(const nn_places *places, char *name) {
    nn_place wanted = {.name = name};
    if (places->count == 0) return NULL;
    return bsearch(&wanted, places->items, (size_t)places->count, sizeof wanted, by_name);
}

/* What the model calls a tensor; owned by the caller. */
static char *own_name(const char *name, const nn_load_options *o, nn_error *e) {
    for (int i = 0; i < o->renaming_count; i++) {
        size_t prefix = strlen(o->renamings[i].file), other = strlen(o->renamings[i].model);
        if (strncmp(name, o->renamings[i].file, prefix) != 0) continue;
        size_t rest = strlen(name) - prefix;
        char *renamed = nn_take(other + rest + 1, 1, "a name", e);
        if (renamed == NULL) return NULL;
        memcpy(renamed, o->renamings[i].model, other);
        memcpy(renamed + other, name + prefix, rest);
        return renamed;
    }
    return nn_copy_text(name, strlen(name), e);
}

/* Numbers of a file, which are little-endian; -1, or the first that does not fit. */
static int64_t convert(const nn_tensor *t, int64_t first, int64_t count, nn_type type, void *to) {
    size_t size = nn_type_size(t->type);
    const char *from = (const char *)t->data + (size_t)first * size;
    if (!nn_big_endian()) return nn_convert(t->type, from, type, to, count);
    for (int64_t i = 0; i < count; i++) {
        char number[8];
        memcpy(number, from + (size_t)i * size, size);
        nn_swap_bytes(number, 1, size);
        if (nn_convert(t->type, number, type, (char *)to + (size_t)i * nn_type_size(type), 1) >= 0) return i;
    }
    return -1;
}

static double number_at(const nn_tensor *t, int64_t i) {
    double number = NAN;
    (void)convert(t, i, 1, NN_F64, &number);
    return number;
}

/* The first number that the place cannot hold, or -1. */
static int64_t find_unfit(const nn_place *place, const nn_tensor *t) {
    int64_t whole;
    if (place->stored != place->type) return convert(t, 0, 1, place->stored, &whole);
    if (place->type != NN_F32 || t->type != NN_F64) return -1;
    for (int64_t i = 0, n = nn_elements(t->shape, 8); i < n; i++)
        if (isfinite(number_at(t, i)) && isinf((float)number_at(t, i))) return i;
    return -1;
}

static void compare(differences *d, const nn_place *place, const nn_tensor *t, const nn_matching *m) {
    char in_file[NN_SHAPE_TEXT], own[NN_SHAPE_TEXT];
    bool counter = place->stored != place->type;
    if (!nn_same_shape(place->shape, t->shape)) {
        differ(d, "%s\"%.80s\" is %.60s, not %.60s", comma(d), place->name, nn_shape_words(t->shape, in_file),
               nn_shape_words(place->shape, own));
    } else if (m->exact ? t->type != place->stored : !counter && nn_type_kind(t->type) != 'f') {
        differ(d, "%s\"%.80s\" is %s, not %s", comma(d), place->name, nn_type_name(t->type),
               m->exact ? nn_type_name(place->stored) : "a floating-point type");
    } else {
        int64_t unfit = find_unfit(place, t);
        if (unfit >= 0)
            differ(d, "%s\"%.80s\" has %.9g at %" PRId64 ", which does not fit %s", comma(d), place->name,
                   number_at(t, unfit), unfit, nn_type_name(place->stored));
    }
}

static void match_tensor(nn_places *places, differences *d, const nn_tensor *t, const nn_matching *m, nn_error *e) {
    if (m->ignore != NULL && strncmp(t->name, m->ignore, strlen(m->ignore)) == 0) return;
    char *name = own_name(t->name, &m->options, e);
    if (name == NULL) return;
    nn_place *place = find(places, name);
    if (place == NULL) {
        if (!m->options.lenient) differ(d, "%s\"%.80s\" is not in %s", comma(d), name, m->what);
    } else if (place->tensor != NULL) {
        differ(d, "%stwo tensors for \"%.80s\"", comma(d), name);
    } else {
        place->tensor = t;
        compare(d, place, t, m);
    }
    nn_release(name);
}

void nn_places_match(nn_places *places, const nn_safetensors *file, const nn_matching *m, nn_error *e) {
    differences d = {.count = 0};
    char more[48] = "";
    if (!nn_ok(e)) return;
    put_in_order(places);
    for (int64_t i = 0; nn_ok(e) && i < file->count; i++) match_tensor(places, &d, &file->tensors[i], m, e);
    for (int64_t i = 0; i < places->count && !m->options.lenient; i++)
        if (places->items[i].tensor == NULL) differ(&d, "%s\"%.80s\" is missing", comma(&d), places->items[i].name);
    if (d.count == 0) return;
    if (d.count > d.named) (void)snprintf(more, sizeof more, "; and %" PRId64 " more", d.count - d.named);
    nn_fail(e, AG_ERR_VALUE, "%.80s: does not fit %s: %s%s", m->path, m->what, d.text, more);
}

void nn_place_take(const nn_place *place) {
    (void)convert(place->tensor, 0, nn_elements(place->shape, 1), place->type, place->data);
}

int64_t nn_places_take(const nn_places *places) {
    int64_t taken = 0;
    for (int64_t i = 0; i < places->count; i++) {
        if (places->items[i].tensor == NULL) continue;
        nn_place_take(&places->items[i]);
        taken++;
    }
    return taken;
}
