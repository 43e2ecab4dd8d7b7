/* Fuzzers of the readers in nn/data, one for each format. What is read is looked at in every way that a user could.
 *
 * With libFuzzer: clang -fsanitize=fuzzer,address,undefined -DFUZZ_FORMAT=fuzz_csv, over this file and nn/data.
 * test_fuzz_data.c runs them on saved and on changed inputs.
 *
 * What does not hold ends the program by abort(). */
#include "nn/data/csv_impl.h"

#include <stdlib.h>
#include <string.h>

typedef void fuzzer(const uint8_t *data, size_t size);

#define HOLDS(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) broken(#condition, __LINE__);                                                                \
    } while (0)

static void broken(const char *what, int line) {
    fprintf(stderr, "fuzz_data.c:%d: does not hold: %s\n", line, what);
    abort();
}

/* An error has a sentence, and there is none without a status. */
static void look_at_error(const nn_error *e) { HOLDS((e->status == AG_OK) == (e->message[0] == '\0')); }

static void look_at_array(const nn_array *a, const nn_error *before) {
    HOLDS((a->data != NULL) == (before->status == AG_OK));
    for (int type = NN_F32; type <= NN_BOOL; type++) {
        nn_error e = *before;
        nn_array b = nn_array_convert(a, (nn_type)type, &e);
        HOLDS((b.data != NULL) == (e.status == AG_OK));
        if (b.data != NULL) HOLDS(nn_array_count(a) == nn_array_count(&b));
        nn_array_free(&b);
        look_at_error(&e);
    }
}

static void fuzz_npy(const uint8_t *data, size_t size) {
    nn_error e = {0};
    nn_array a = nn_npy_parse("f", data, size, &e);
    look_at_array(&a, &e);
    nn_array_free(&a);
}

static void fuzz_npz(const uint8_t *data, size_t size) {
    nn_error e = {0};
    nn_arrays a = nn_npz_parse("f", data, size, &e);
    look_at_error(&e);
    for (int64_t i = 0; i < a.count; i++) {
        HOLDS(nn_arrays_find(&a, a.names[i]) == &a.arrays[i]);
        look_at_array(&a.arrays[i], &e);
    }
    nn_arrays_free(&a);
}

static void fuzz_idx(const uint8_t *data, size_t size) {
    nn_error e = {0};
    nn_array a = nn_idx_parse("f", data, size, &e);
    look_at_array(&a, &e);
    nn_array_free(&a);
}

static void fuzz_gzip(const uint8_t *data, size_t size) {
    nn_error e = {0};
    nn_content c = nn_gunzip("f", data, size, &e);
    look_at_error(&e);
    HOLDS((c.bytes != NULL) == (e.status == AG_OK));
    if (c.bytes != NULL) HOLDS(c.bytes[c.size] == 0);
    nn_content_free(&c);
    e = (nn_error){0};
    c = nn_inflate("f", data, size, size < 2 ? 0 : data[0] + 256u * data[1], &e);
    look_at_error(&e);
    nn_content_free(&c);
}

/* All characters in and out again. */
static void fuzz_text(const uint8_t *data, size_t size) {
    nn_error e = {0};
    nn_vocabulary v = nn_vocabulary_of(data, size, &e);
    nn_array codes = nn_encode(&v, data, size, &e);
    const uint8_t *at = data;
    look_at_error(&e);
    for (int64_t i = 0; i < nn_array_count(&codes); i++) {
        char c[5];
        int n = nn_decode(&v, ((const int32_t *)codes.data)[i], c);
        HOLDS(n > 0 && (size_t)n <= size - (size_t)(at - data) && memcmp(c, at, (size_t)n) == 0);
        at += n;
    }
    if (e.status == AG_OK) HOLDS(at == data + size);
    nn_vocabulary_free(&v);
    nn_array_free(&codes);
}

static void fuzz_safetensors(const uint8_t *data, size_t size) {
    nn_error e = {0};
    nn_safetensors f = {0};
    size_t total = 0;
    nn_safetensors_parse("f", data, size, &f, &e);
    look_at_error(&e);
    for (int64_t i = 0; e.status == AG_OK && i < f.count; i++) {
        const nn_tensor *t = &f.tensors[i];
        HOLDS(nn_safetensors_find(&f, t->name) == t);
        nn_array a = nn_safetensors_read(&f, t->name, &e);
        total += (size_t)nn_array_count(&a) * nn_type_size(a.type);
        look_at_array(&a, &e);
        nn_array_free(&a);
    }
    for (int64_t i = 0; e.status == AG_OK && i < f.metadata_count; i++)
        HOLDS(nn_safetensors_metadata(&f, f.metadata[i].key) == f.metadata[i].value);
    if (e.status == AG_OK) HOLDS(total < size);
    nn_safetensors_close(&f);
}

static void look_at_table(const nn_table *t, const nn_error *before) {
    HOLDS((t->values.data != NULL) == (before->status == AG_OK));
    for (int64_t i = 0; t->values.data != NULL && i < t->values.shape.dim[1]; i++) {
        nn_error e = *before;
        nn_array c = nn_table_column(t, t->names[i], NN_F64, &e);
        HOLDS(c.data != NULL && nn_table_find(t, t->names[i]) <= i);
        const struct nn_categories *k = &t->categories[i];
        for (int64_t n = 1; n < k->count; n++) HOLDS(strcmp(k->texts[n - 1], k->texts[n]) < 0);
        if (nn_table_find(t, t->names[i]) == i)
            for (int64_t row = 0; k->count > 0 && row < t->values.shape.dim[0]; row++) {
                double code = ((const double *)c.data)[row];
                HOLDS(code != code || (code >= 0 && code < (double)k->count));
            }
        nn_array_free(&c);
    }
}

/* The first byte says with which options. */
static void fuzz_csv(const uint8_t *data, size_t size) {
    static const char *const names[] = {"a", "b", "1"};
    uint8_t choice = size > 0 ? data[0] : 0;
    nn_csv_options o = {.separator = choice & 1 ? ';' : 0,
                        .no_header = choice & 2,
                        .columns = choice & 4 ? names + (choice >> 7) : NULL,
                        .column_count = 2,
                        .texts = names + (choice >> 7),
                        .text_count = choice & 8 ? 1 : 0,
                        .missing = (nn_missing)((choice >> 4 & 3) % 3),
                        .missing_text = choice & 64 ? "?" : NULL};
    nn_table like = {0};
    for (int pass = 0; pass < 2; pass++) { /* the second time with the first table's categories, which know all texts */
        nn_error e = {0};
        char *copy = calloc(size + 1, 1);
        HOLDS(copy);
        if (size > 1) memcpy(copy, data + 1, size - 1);
        nn_table t = nn_csv_parse("f", copy, size > 1 ? size - 1 : 0, &o, &e);
        free(copy); /* nothing may point into it */
        look_at_error(&e);
        look_at_table(&t, &e);
        if (pass == 1 && like.values.data != NULL && t.values.data != NULL && nn_array_count(&like.values) > 0)
            HOLDS(memcmp(t.values.data, like.values.data, (size_t)nn_array_count(&t.values) * 8) == 0);
        nn_table_free(&like);
        like = t;
        o.like = &like;
    }
    nn_table_free(&like);
}

#ifdef FUZZ_FORMAT
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static fuzzer *const all[] = {fuzz_csv, fuzz_npy, fuzz_npz, fuzz_idx, fuzz_gzip, fuzz_text, fuzz_safetensors};
    (void)all;
    FUZZ_FORMAT(data, size);
    return 0;
}
#endif
