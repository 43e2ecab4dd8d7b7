/* Writing safetensors. */
#include "nn/data/json_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static size_t bytes_of(const nn_tensor *t) {
    return (size_t)nn_elements(t->shape, nn_type_size(t->type)) * nn_type_size(t->type);
}

/* The largest numbers first, so that each tensor begins at a multiple of its numbers' size. */
static int by_size(const void *a, const void *b) {
    const nn_tensor *x = *(const nn_tensor *const *)a, *y = *(const nn_tensor *const *)b;
    size_t m = nn_type_size(x->type), n = nn_type_size(y->type);
    return m != n ? (m > n ? -1 : 1) : strcmp(x->name, y->name);
}

static bool is_text(const char *text) {
    const uint8_t *at = (const uint8_t *)text, *end;
    if (text == NULL) return false;
    for (end = at + strlen(text); at < end;)
        if (nn_utf8_next(&at, end) < 0) return false;
    return true;
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const nn_tensor *const *)a)->name, (*(const nn_tensor *const *)b)->name);
}

static void check(const char *path, const nn_tensor **order, int64_t count, const nn_text_pair *metadata,
                  int64_t metadata_count, nn_error *e) {
    for (int64_t i = 0; i < count; i++) {
        const nn_tensor *t = order[i];
        int64_t n = nn_elements(t->shape, nn_type_size(t->type));
        if (!is_text(t->name) || strcmp(t->name, "__metadata__") == 0)
            nn_fail(e, AG_ERR_VALUE, "%.160s: tensor %" PRId64 " has no name, or one that it cannot have", path, i);
        else if (nn_type_name(t->type) == NULL || n < 0 || (n > 0 && t->data == NULL))
            nn_fail(e, AG_ERR_VALUE, "%.160s: tensor \"%.80s\" has no such type or shape, or no data", path, t->name);
    }
    for (int64_t i = 0; i < metadata_count; i++)
        if (!is_text(metadata[i].key) || !is_text(metadata[i].value))
            nn_fail(e, AG_ERR_VALUE, "%.160s: metadata %" PRId64 " is not a text in UTF-8", path, i);
    if (!nn_ok(e)) return;
    qsort(order, (size_t)count, sizeof *order, by_name);
    for (int64_t i = 1; i < count; i++)
        if (by_name(&order[i - 1], &order[i]) == 0)
            nn_fail(e, AG_ERR_VALUE, "%.160s: two tensors with the name \"%.80s\"", path, order[i]->name);
    for (int64_t i = 0; i < metadata_count; i++)
        for (int64_t k = 0; k < i; k++)
            if (strcmp(metadata[i].key, metadata[k].key) == 0)
                nn_fail(e, AG_ERR_VALUE, "%.160s: metadata has two of \"%.80s\"", path, metadata[i].key);
}

static void write_metadata(FILE *out, const nn_text_pair *metadata, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        (void)fputs(i == 0 ? "\"__metadata__\":{" : ",", out);
        nn_json_write_text(out, metadata[i].key);
        (void)fputc(':', out);
        nn_json_write_text(out, metadata[i].value);
    }
    if (count > 0) (void)fputc('}', out);
}

static void write_entry(FILE *out, const nn_tensor *t, uint64_t begin) {
    nn_json_write_text(out, t->name);
    (void)fprintf(out, ":{\"dtype\":\"%s\",\"shape\":[", nn_type_name(t->type));
    for (int i = 0; i < t->shape.rank; i++) (void)fprintf(out, i > 0 ? ",%" PRId64 : "%" PRId64, t->shape.dim[i]);
    (void)fprintf(out, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", begin, begin + bytes_of(t));
}

/* Its length is known, and put in front, when all of it is written. */
static void write_header(FILE *out, const char *path, const nn_tensor **order, int64_t count,
                         const nn_text_pair *metadata, int64_t metadata_count, nn_error *e) {
    uint64_t begin = 0;
    uint8_t bytes[8] = {0};
    (void)fwrite(bytes, 1, 8, out);
    (void)fputc('{', out);
    write_metadata(out, metadata, metadata_count);
    for (int64_t i = 0; i < count; i++) {
        if (i > 0 || metadata_count > 0) (void)fputc(',', out);
        write_entry(out, order[i], begin);
        begin += bytes_of(order[i]);
    }
    (void)fputc('}', out);
    while (ftell(out) % 8 > 0) (void)fputc(' ', out);
    long end = ftell(out);
    if (end > 8 + (long)NN_MOST_HEADER)
        nn_fail(e, AG_ERR_VALUE, "%.200s: a header of more than %d bytes", path, (int)NN_MOST_HEADER);
    uint64_t length = (uint64_t)end - 8;
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(length >> 8 * i);
    if (fseek(out, 0, SEEK_SET) == 0) (void)fwrite(bytes, 1, 8, out);
    (void)fseek(out, 0, SEEK_END);
}

static void write_data(FILE *out, const nn_tensor *t) {
    size_t size = nn_type_size(t->type), bytes = bytes_of(t);
    if (!nn_big_endian()) {
        if (bytes > 0) (void)fwrite(t->data, 1, bytes, out);
        return;
    }
    for (size_t i = 0; i < bytes; i += size) {
        uint8_t number[8];
        memcpy(number, (const uint8_t *)t->data + i, size);
        nn_swap_bytes(number, 1, size);
        (void)fwrite(number, 1, size, out);
    }
}

void nn_safetensors_write(const char *path, const nn_tensor *tensors, int64_t count, const nn_text_pair *metadata,
                          int64_t metadata_count, nn_error *e) {
    (void)nn_given(path, "the path of a file to be written", e);
    if (count > 0) (void)nn_given(tensors, "safetensors: the array of tensors", e);
    if (metadata_count > 0) (void)nn_given(metadata, "safetensors: the array of metadata", e);
    const nn_tensor **order = nn_take((size_t)(count > 0 ? count : 0), sizeof *order, "safetensors", e);
    if (order == NULL) return;
    for (int64_t i = 0; i < count; i++) order[i] = &tensors[i];
    check(path, order, count, metadata, metadata_count, e);
    if (nn_ok(e)) {
        qsort(order, (size_t)count, sizeof *order, by_size);
        nn_replacement r = nn_replace_begin(path, e);
        if (r.file != NULL) {
            write_header(r.file, path, order, count, metadata, metadata_count, e);
            for (int64_t i = 0; nn_ok(e) && i < count; i++) write_data(r.file, order[i]);
        }
        nn_replace_end(&r, e);
    }
    nn_release((void *)order);
}
