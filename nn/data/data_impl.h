/* What the files of nn/data share. */
#ifndef NN_DATA_IMPL_H
#define NN_DATA_IMPL_H

#include "nn/data.h"
#include "nn/memory.h"

#include <locale.h>

/* ---- errors (error.c) */

/* Without an nn_error nothing is done, as after an error. */
static inline bool nn_ok(const nn_error *e) { return e != NULL && e->status == AG_OK; }
/* Whether there is no error yet and a pointer that is required was given; else there is one: "WHAT is NULL". */
bool nn_given(const void *pointer, const char *what, nn_error *e);
/* nn_allocate; what there is no memory for is "subject". */
void *nn_take(size_t count, size_t size, const char *subject, nn_error *e);
/* One more item of `size` bytes, zeroed, at the end of a growing array: its place, or NULL. */
void *nn_append(void **items, int64_t *count, int64_t *room, size_t size, const char *subject, nn_error *e);
char *nn_copy_text(const char *text, size_t length, nn_error *e); /* with a 0 behind it */

/* ---- the locale of numbers (locale.c) */

typedef struct nn_locale {
    locale_t c, before;
} nn_locale;
/* Between the two, the thread's locale is "C". False, with an error about `subject`, where there is no memory for it. */
bool nn_locale_enter(nn_locale *l, const char *subject, nn_error *e);
void nn_locale_leave(const nn_locale *l);

/* ---- arrays (array.c, convert.c) */

char nn_type_kind(nn_type type); /* 'f', 'i', 'u', 'b' */
bool nn_type_of_npy(const char name[2], nn_type *type);
const char *nn_type_npy(nn_type type); /* or NULL */
bool nn_type_of_safetensors(const char *name, nn_type *type);
/* Elements of a shape; -1 if its rank or a dimension is none, or if `size` bytes for each are too many to address. */
int64_t nn_elements(ag_shape shape, size_t size);
/* Whether type and shape are some; else an error. */
bool nn_check_array(const nn_array *array, const char *subject, nn_error *e);
/* A shape as text, "(2, 3)", for messages. */
enum { NN_SHAPE_TEXT = 192 };
const char *nn_shape_words(ag_shape shape, char text[NN_SHAPE_TEXT]);
/* Zeros, if the array takes exactly so many bytes; else an error, in which `name` is the file. */
nn_array nn_array_of_bytes(const char *name, nn_type type, ag_shape shape, size_t bytes, nn_error *e);
/* Reverses the bytes of each element. */
void nn_swap_bytes(void *data, int64_t count, size_t size);
static inline bool nn_big_endian(void) {
    const uint16_t one = 1;
    return *(const uint8_t *)&one == 0;
}
/* Converts `count` numbers; -1, or the index of the first that does not fit. `from` and `to` may lie at any address. */
int64_t nn_convert(nn_type from_type, const void *from, nn_type to_type, void *to, int64_t count);
double nn_load_number(nn_type type, const void *at);
void nn_number_text(nn_type type, const void *at, char text[32]);

/* ---- whole files (content.c, inflate.c, replace.c) */

/* Bytes with a 0 behind them. */
typedef struct nn_content {
    uint8_t *bytes;
    size_t size;
} nn_content;
/* All of a file; what gzip made is expanded. */
nn_content nn_content_read(const char *path, nn_error *e);
void nn_content_free(nn_content *content);
/* `name` is for messages. */
nn_content nn_gunzip(const char *name, const uint8_t *bytes, size_t size, nn_error *e);
bool nn_is_gzip(const uint8_t *bytes, size_t size);
/* A stream of deflate, which must give exactly `want` bytes. */
nn_content nn_inflate(const char *name, const uint8_t *bytes, size_t size, size_t want, nn_error *e);

/* A file that takes another's place once it is complete. */
typedef struct nn_replacement {
    FILE *file;             /* NULL after an error */
    char *path, *temporary; /* temporary is empty where the path itself is written to */
} nn_replacement;
nn_replacement nn_replace_begin(const char *path, nn_error *e);
/* Flushes and renames; after an error, removes the temporary file. Always call it. */
void nn_replace_end(nn_replacement *r, nn_error *e);
/* Whether that could begin; nothing is left of it. NULL is fine. */
void nn_replace_try(const char *path, nn_error *e);

/* ---- formats in memory; `name` is for messages */

nn_array nn_npy_parse(const char *name, const uint8_t *bytes, size_t size, nn_error *e);
nn_arrays nn_npz_parse(const char *name, const uint8_t *bytes, size_t size, nn_error *e);
nn_array nn_idx_parse(const char *name, const uint8_t *bytes, size_t size, nn_error *e);
/* Changes the bytes, of which there is one more, a 0. */
nn_table nn_csv_parse(const char *name, char *text, size_t size, const nn_csv_options *options, nn_error *e);
enum { NN_MOST_HEADER = 100000000 }; /* bytes of a header, as other readers have it */
/* Keeps pointers to the bytes. */
void nn_safetensors_parse(const char *name, const uint8_t *bytes, size_t size, nn_safetensors *file, nn_error *e);

/* The code point at *at, which moves behind it; -1 for what is not UTF-8 (Unicode 15, table 3-7). */
int64_t nn_utf8_next(const uint8_t **at, const uint8_t *end);
int nn_utf8_put(uint32_t point, char to[5]); /* returns its bytes */

/* ---- samples */

/* Where the i-th of n comes after shuffling; a permutation for each key. */
int64_t nn_shuffled(int64_t i, int64_t n, uint64_t key);
uint64_t nn_mix(uint64_t a, uint64_t b); /* a hash of both */

static inline int64_t nn_row(const nn_dataset *set, int64_t i) { return set->rows != NULL ? set->rows[i] : i; }

/* What batches depend on beside a loader's state: X(name, number). Seeds are their bits. */
#define NN_LOADER_NUMBERS(X)                                                                                           \
    X("number of samples", l->set.count)                                                                               \
    X("batch", l->options.batch)                                                                                       \
    X("shuffle", l->options.shuffle)                                                                                   \
    X("drop_last", l->options.drop_last)                                                                               \
    X("seed", (int64_t)l->options.seed)
#define NN_X_(name, number) +1
enum { NN_LOADER_COUNT = 0 NN_LOADER_NUMBERS(NN_X_) };
#undef NN_X_
bool nn_loader_is_at_end(const nn_loader *l); /* its next call ends an epoch */
void nn_loader_numbers(const nn_loader *l, int64_t numbers[NN_LOADER_COUNT]);
const char *nn_loader_number_name(int i);

/* The shape that a sample has after augmentation; an error if that cannot be. */
ag_shape nn_augmented_shape(const nn_augment *augment, ag_shape shape, nn_error *e);
/* Copies a sample, elements of `size` bytes, so changed. */
void nn_augment_sample(const nn_augment *augment, ag_shape shape, size_t size, const char *from, char *to,
                       uint64_t key);

#endif
