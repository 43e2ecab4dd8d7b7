/* A model as a table. */
#include "nn/keep/keep_impl.h"

#include <inttypes.h>
#include <string.h>

typedef struct row {
    const char *name;
    ag_var var;
    bool trained;
} row;

typedef struct table {
    const nn_model *model;
    FILE *out;
    int layer, own, shape; /* widths of columns */
} table;

/* Layer and own name: what is before and behind the last dot; without a dot, all and nothing. */
static int layer_length(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot != NULL ? (int)(dot - name) : (int)strlen(name);
}
static const char *own_part(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot != NULL ? dot + 1 : "";
}

static bool same_layer(const char *a, const char *b) {
    int length = layer_length(a);
    return layer_length(b) == length && strncmp(a, b, (size_t)length) == 0;
}

static row row_at(const table *t, int i) {
    int parameters = nn_parameter_count(t->model);
    bool trained = i < parameters;
    if (trained) return (row){nn_parameter_name(t->model, i), nn_parameter_at(t->model, i), true};
    return (row){nn_buffer_name(t->model, i - parameters), nn_buffer_at(t->model, i - parameters), false};
}

static int greater(int a, int b) { return a > b ? a : b; }

/* 1234567 as 1,234,567. */
static const char *grouped(int64_t number, char text[32]) {
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRId64, number), k = 0;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) text[k++] = ',';
        text[k++] = digits[i];
    }
    text[k] = '\0';
    return text;
}

static int64_t bytes_of(const table *t, int64_t numbers) {
    return numbers * (ag_tape_type(nn_model_tape(t->model)) == AG_F64 ? 8 : 4);
}

static void put_total(const table *t, const char *what, int64_t numbers) {
    char a[32], b[32];
    fprintf(t->out, "%-*s  %14s  %14s\n", t->layer + t->own + t->shape + 4, what, grouped(numbers, a),
            grouped(bytes_of(t, numbers), b));
}

static void put_row(const table *t, const row *r, const char *before) {
    char shape[NN_SHAPE_TEXT], a[32], b[32];
    bool again = before != NULL && same_layer(before, r->name);
    fprintf(t->out, "%-*.*s  %-*s  %-*s  %14s  %14s%s\n", t->layer, again ? 0 : layer_length(r->name), r->name, t->own,
            own_part(r->name), t->shape, nn_shape_words(ag_shape_of(r->var), shape), grouped(ag_count(r->var), a),
            grouped(bytes_of(t, ag_count(r->var)), b), r->trained ? "" : "  buffer");
}

/* Whether a parameter behind number i is of the same layer. */
static bool is_later(const table *t, const char *name, int i) {
    for (int k = i + 1; k < nn_parameter_count(t->model); k++)
        if (same_layer(name, nn_parameter_name(t->model, k))) return true;
    return false;
}

/* Rows in the order in which they were made, but a layer's buffers behind its last parameter. */
static void put_rows(const table *t, int count) {
    int parameters = nn_parameter_count(t->model);
    const char *before = NULL;
    for (int i = 0; i < parameters; i++) {
        row r = row_at(t, i);
        put_row(t, &r, before);
        before = r.name;
        if (i + 1 < parameters && same_layer(before, row_at(t, i + 1).name)) continue;
        for (int k = parameters; k < count; k++) {
            row buffer = row_at(t, k);
            if (same_layer(before, buffer.name) && !is_later(t, before, i)) put_row(t, &buffer, before);
        }
    }
    for (int k = parameters; k < count; k++) {
        row buffer = row_at(t, k);
        if (is_later(t, buffer.name, -1)) continue; /* printed with its layer */
        put_row(t, &buffer, before);
        before = buffer.name;
    }
}

void nn_model_summary(const nn_model *model, FILE *out) {
    table t = {model, out, 5, 4, 5};
    if (model == NULL || out == NULL || ag_tape_status(nn_model_tape(model)) != AG_OK) return;
    int count = nn_parameter_count(model) + nn_buffer_count(model);
    int64_t buffers = 0;
    char shape[NN_SHAPE_TEXT];
    for (int i = 0; i < count; i++) {
        row r = row_at(&t, i);
        t.layer = greater(t.layer, layer_length(r.name));
        t.own = greater(t.own, (int)strlen(own_part(r.name)));
        t.shape = greater(t.shape, (int)strlen(nn_shape_words(ag_shape_of(r.var), shape)));
        buffers += r.trained ? 0 : ag_count(r.var);
    }
    fprintf(out, "%-*s  %-*s  %-*s  %14s  %14s\n", t.layer, "layer", t.own, "name", t.shape, "shape", "numbers",
            "bytes");
    put_rows(&t, count);
    put_total(&t, "trained", nn_model_size(model));
    if (buffers > 0) put_total(&t, "buffers", buffers);
}
