/* Tables: their columns, and writing them as CSV. */
#include "nn/data/data_impl.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void nn_table_free(nn_table *table) {
    if (table == NULL) return;
    int64_t columns = table->values.shape.rank == 2 ? table->values.shape.dim[1] : 0;
    for (int64_t i = 0; i < columns; i++) {
        if (table->names != NULL) nn_release(table->names[i]);
        if (table->categories == NULL) continue;
        for (int64_t k = 0; k < table->categories[i].count; k++) nn_release(table->categories[i].texts[k]);
        nn_release(table->categories[i].texts);
    }
    nn_release(table->names);
    nn_release(table->categories);
    nn_array_free(&table->values);
    *table = (nn_table){0};
}

int64_t nn_table_find(const nn_table *table, const char *name) {
    if (table == NULL || name == NULL || table->names == NULL || table->values.shape.rank != 2) return -1;
    for (int64_t i = 0; i < table->values.shape.dim[1]; i++)
        if (strcmp(table->names[i], name) == 0) return i;
    return -1;
}

nn_array nn_table_columns(const nn_table *table, const char *const *names, int count, nn_type type, nn_error *e) {
    if (!nn_given(table, "columns: the table", e)) return (nn_array){.type = NN_F32};
    if (count > 0) (void)nn_given(names, "columns: the array of names", e);
    for (int i = 0; nn_ok(e) && i < count; i++) (void)nn_given(names[i], "columns: a name", e);
    const nn_array *v = &table->values;
    int64_t rows = v->shape.dim[0], columns = v->shape.dim[1];
    if (nn_ok(e) && (v->data == NULL || v->shape.rank != 2)) nn_fail(e, AG_ERR_VALUE, "columns: there is no table");
    nn_array to = nn_array_new(type, (ag_shape){2, {rows, count}}, e);
    size_t from_size = nn_type_size(v->type), to_size = nn_type_size(type);
    for (int i = 0; nn_ok(e) && i < count; i++) {
        int64_t at = nn_table_find(table, names[i]);
        if (at < 0) nn_fail(e, AG_ERR_VALUE, "columns: none is called \"%.80s\"", names[i]);
        for (int64_t row = 0; nn_ok(e) && row < rows; row++) {
            const char *from = (const char *)v->data + (size_t)(row * columns + at) * from_size;
            char text[32];
            if (nn_convert(v->type, from, type, (char *)to.data + (size_t)(row * count + i) * to_size, 1) < 0) continue;
            nn_number_text(v->type, from, text);
            nn_fail(e, AG_ERR_VALUE, "columns: row %" PRId64 " of \"%.80s\" is %s, which %s cannot hold", row, names[i],
                    text, nn_type_name(type));
        }
    }
    if (!nn_ok(e)) nn_array_free(&to);
    return to;
}

nn_array nn_table_column(const nn_table *table, const char *name, nn_type type, nn_error *e) {
    nn_array column = nn_table_columns(table, &name, 1, type, e);
    if (column.data != NULL) column.shape.rank = 1;
    return column;
}

/* ---- writing ---- */

static void write_text(FILE *out, const char *text) {
    if (*text != '\0' && strpbrk(text, ",\"\r\n") == NULL && text[strspn(text, " \t")] != '\0') {
        (void)fputs(text, out);
        return;
    }
    (void)fputc('"', out);
    for (; *text != '\0'; text++) {
        if (*text == '"') (void)fputc('"', out);
        (void)fputc(*text, out);
    }
    (void)fputc('"', out);
}

/* The shortest of 15 to 17 digits (6 to 9 of a float) that reads back to the same number. */
static void write_number(FILE *out, nn_type type, const void *at) {
    char text[32];
    double value = nn_load_number(type, at);
    if (isnan(value)) return;
    if (nn_type_kind(type) != 'f') {
        nn_number_text(type, at, text);
    } else {
        bool is_double = type == NN_F64;
        for (int digits = is_double ? 15 : 6; digits <= (is_double ? 17 : 9); digits++) {
            (void)snprintf(text, sizeof text, "%.*g", digits, value);
            double back = strtod(text, NULL);
            if (is_double ? back == value : (float)back == (float)value) break;
        }
    }
    (void)fputs(text, out);
}

static void write_value(FILE *out, const nn_table *t, int64_t row, int64_t column) {
    const nn_array *v = &t->values;
    const char *at = (const char *)v->data + (size_t)(row * v->shape.dim[1] + column) * nn_type_size(v->type);
    const struct nn_categories *texts = t->categories != NULL ? &t->categories[column] : NULL;
    double code = nn_load_number(v->type, at);
    if (texts != NULL && texts->count > 0 && code >= 0 && code < (double)texts->count && code == trunc(code))
        write_text(out, texts->texts[(int64_t)code]);
    else write_number(out, v->type, at);
}

static void write_rows(FILE *out, const nn_table *t) {
    int64_t rows = t->values.shape.dim[0], columns = t->values.shape.dim[1];
    for (int64_t i = 0; t->names != NULL && i < columns; i++) {
        if (i > 0) (void)fputc(',', out);
        write_text(out, t->names[i]);
    }
    if (t->names != NULL) (void)fputc('\n', out);
    for (int64_t row = 0; row < rows && !ferror(out); row++) {
        for (int64_t i = 0; i < columns; i++) {
            if (i > 0) (void)fputc(',', out);
            write_value(out, t, row, i);
        }
        (void)fputc('\n', out);
    }
}

void nn_csv_write(const char *path, const nn_table *table, nn_error *e) {
    if (!nn_given(path, "the path of a file to be written", e) || !nn_given(table, "the table to be written", e) ||
        !nn_check_array(&table->values, path, e))
        return;
    if (table->values.data == NULL || table->values.shape.rank != 2 || table->values.shape.dim[1] < 1) {
        nn_fail(e, AG_ERR_SHAPE, "%.200s: only an array (rows, columns) can be written as CSV", path);
        return;
    }
    nn_locale locale;
    if (!nn_locale_enter(&locale, path, e)) return;
    nn_replacement r = nn_replace_begin(path, e);
    if (r.file != NULL) write_rows(r.file, table);
    nn_replace_end(&r, e);
    nn_locale_leave(&locale);
}
