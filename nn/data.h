/* nn/data: what a model learns from, and files of arrays.
 *
 *   arrays       numbers of any type in memory
 *   files        CSV, NumPy's .npy and .npz, IDX, text, safetensors; read whole, written all or nothing
 *   data sets    samples of arrays: split, scaled
 *   loaders      shuffled batches, augmented, prepared while the last one trains
 *
 *     nn_error e = {0};
 *     nn_array images = nn_idx_read("train-images.gz", &e), labels = nn_idx_read("train-labels.gz", &e);
 *     nn_dataset all = nn_dataset_of((const nn_array[]){images, labels}, 2, &e), train, rest;
 *     nn_dataset_split(&all, 0.9, 1, &train, &rest, &e);
 *     nn_scale scale = nn_scale_fit(&train, 0, NN_PER_FIELD, &e);
 *     nn_loader *loader = nn_loader_new(&train, &(nn_loader_options){.batch = 64, .shuffle = true, .seed = 1,
 *                                       .fields = {{.scale = &scale}, {.type = NN_I64}}}, &e);
 *     for (nn_batch b; nn_loader_next(loader, &b, &e);)    // one epoch
 *         step(b.fields[0].data, b.fields[1].data, b.count);
 *     if (e.status != AG_OK) fprintf(stderr, "%s\n", e.message);
 *
 * Errors stick, as they do on a tape: a function that is given an error does nothing and returns something inert, so that
 * it is enough to ask once; nor does it anything if it is given no nn_error. Everything that can be freed can be freed
 * after an error, and twice. Files that begin as gzip does are expanded while they are read, all of them in memory: up to
 * 1032 times their size, which is all that deflate can, so weigh files that you do not trust. AG_ERR_FILE is a file that
 * cannot be opened, read or written; AG_ERR_VALUE one whose content is wrong, and every other wrong argument. */
#ifndef NN_DATA_H
#define NN_DATA_H

#include <nn/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- errors */

typedef struct nn_error {
    ag_status status; /* AG_OK: none */
    char message[512];
} nn_error;

/* Makes it an error, unless it is one already: for one's own readers and hooks. */
NN_API void nn_fail(nn_error *e, ag_status status, const char *format, ...) AG_FORMAT_(3, 4);

/* ---- arrays */

/* X(name, bytes, kind: float, signed, unsigned, bool; name in .npy, name in safetensors) */
#define NN_TYPES(X)                                                                                                    \
    X(F32, 4, 'f', "f4", "F32")                                                                                        \
    X(F64, 8, 'f', "f8", "F64")                                                                                        \
    X(F16, 2, 'f', "f2", "F16")                                                                                        \
    X(BF16, 2, 'f', NULL, "BF16")                                                                                      \
    X(I8, 1, 'i', "i1", "I8")                                                                                          \
    X(I16, 2, 'i', "i2", "I16")                                                                                        \
    X(I32, 4, 'i', "i4", "I32")                                                                                        \
    X(I64, 8, 'i', "i8", "I64")                                                                                        \
    X(U8, 1, 'u', "u1", "U8")                                                                                          \
    X(U16, 2, 'u', "u2", "U16")                                                                                        \
    X(U32, 4, 'u', "u4", "U32")                                                                                        \
    X(U64, 8, 'u', "u8", "U64")                                                                                        \
    X(BOOL, 1, 'b', "b1", "BOOL")
typedef enum nn_type {
#define NN_X_(name, bytes, kind, npy, safetensors) NN_##name,
    NN_TYPES(NN_X_)
#undef NN_X_
} nn_type;

NN_API size_t nn_type_size(nn_type type);      /* bytes; 0 for an unknown one */
NN_API const char *nn_type_name(nn_type type); /* as safetensors calls it; NULL for an unknown one */

/* A row-major array without gaps. A dimension may be 0. */
typedef struct nn_array {
    nn_type type;
    ag_shape shape;
    void *data; /* owned; NULL: an inert array */
} nn_array;

/* Zeros. Errors: AG_ERR_SHAPE, AG_ERR_VALUE for an unknown type, AG_ERR_MEMORY. */
NN_API nn_array nn_array_new(nn_type type, ag_shape shape, nn_error *e);
NN_API void nn_array_free(nn_array *array);
NN_API int64_t nn_array_count(const nn_array *array); /* elements */
/* The same numbers in another type. Floats are rounded to nearest; it is an error (AG_ERR_VALUE, with place and value) if
 * an integer type or bool cannot hold a number exactly, or if a finite one would become infinite. */
NN_API nn_array nn_array_convert(const nn_array *array, nn_type type, nn_error *e);
/* Element i, row-major; 64-bit integers beyond 2^53 are rounded. The caller checks i. */
NN_API double nn_array_at(const nn_array *array, int64_t i);

/* Arrays with names: the content of an .npz. */
typedef struct nn_arrays {
    int64_t count;
    char **names;
    nn_array *arrays;
} nn_arrays;
NN_API void nn_arrays_free(nn_arrays *arrays);
NN_API const nn_array *nn_arrays_find(const nn_arrays *arrays, const char *name); /* or NULL */

/* ---- files: NumPy, IDX */

/* Format versions 1 to 3, either byte order, C or Fortran order; no complex numbers, texts, objects or structures. */
NN_API nn_array nn_npy_read(const char *path, nn_error *e);
NN_API nn_arrays nn_npz_read(const char *path, nn_error *e);
NN_API void nn_npy_write(const char *path, const nn_array *array, nn_error *e); /* no BF16, which NumPy lacks */

/* MNIST's format, which has U8, I8, I16, I32, F32 and F64. */
NN_API nn_array nn_idx_read(const char *path, nn_error *e);

/* ---- files: CSV (RFC 4180) */

/* A number is missing where a field is empty, "nan" in any case, or `missing_text`. A text is missing in the first and last
 * of these cases. */
typedef enum nn_missing {
    NN_MISSING_ERROR,
    NN_MISSING_NAN,
    NN_MISSING_SKIP /* leaves the row out */
} nn_missing;

typedef struct nn_table {
    nn_array values; /* F64 (rows, columns); a text as its number among the column's categories */
    char **names;    /* of the columns */
    /* Of each column: texts in the order of their bytes; none in a column of numbers. */
    struct nn_categories {
        int64_t count;
        char **texts;
    } * categories;
} nn_table;

typedef struct nn_csv_options {
    char separator;             /* 0: a comma */
    bool no_header;             /* columns are then called "1", "2", ... */
    const char *const *columns; /* those to be read, in this order; NULL: all */
    int column_count;
    const char *const *texts; /* those of them that hold categories; in all others everything must be a number */
    int text_count;
    nn_missing missing;
    const char *missing_text; /* may be NULL */
    const nn_table *like;     /* NULL, or: codes are those of the columns of the same names there, no text may be new */
} nn_csv_options;

/* Options may be NULL. Messages begin with "file:line:column:", columns counted in bytes. A byte order mark is skipped, lines
 * end in LF or CRLF, blank lines are skipped where there is more than one column. Two columns that are to be read and have one
 * name are an error. */
NN_API nn_table nn_csv_read(const char *path, const nn_csv_options *options, nn_error *e);
NN_API void nn_table_free(nn_table *table);
/* The index of a column, or -1. */
NN_API int64_t nn_table_find(const nn_table *table, const char *name);
/* Some columns as (rows, count), converted to the type. */
NN_API nn_array nn_table_columns(const nn_table *table, const char *const *names, int count, nn_type type, nn_error *e);
/* One column as (rows). */
NN_API nn_array nn_table_column(const nn_table *table, const char *name, nn_type type, nn_error *e);
/* Numbers so that they read back to the same bits, NaN as an empty field, codes as their texts. `names` and `categories` may be
 * NULL, so that any array of rank 2 can be written: (nn_table){.values = array}. */
NN_API void nn_csv_write(const char *path, const nn_table *table, nn_error *e);

/* ---- files: text */

/* A file's bytes: U8 (bytes). */
NN_API nn_array nn_text_read(const char *path, nn_error *e);

/* The characters of a text in UTF-8, in the order of their code points. A character's number is its place among them. */
typedef struct nn_vocabulary {
    int64_t count;
    uint32_t *points;
} nn_vocabulary;
/* Errors: AG_ERR_VALUE with line and column for what is not UTF-8. The text need not end in a 0. */
NN_API nn_vocabulary nn_vocabulary_of(const void *text, size_t bytes, nn_error *e);
NN_API void nn_vocabulary_free(nn_vocabulary *vocabulary);
/* I32 (characters). It is an error if a character is not in the vocabulary. */
NN_API nn_array nn_encode(const nn_vocabulary *vocabulary, const void *text, size_t bytes, nn_error *e);
/* Writes a character in UTF-8 and a 0; returns its bytes, 0 if there is no such number. */
NN_API int nn_decode(const nn_vocabulary *vocabulary, int64_t code, char to[5]);

/* ---- files: safetensors */

/* An array that somebody else owns. Data that was read may lie at any address: copy it before you use it as numbers. */
typedef struct nn_tensor {
    const char *name;
    nn_type type;
    ag_shape shape;
    const void *data; /* little-endian in a file */
} nn_tensor;

typedef struct nn_text_pair {
    const char *key, *value;
} nn_text_pair;

/* A file that is mapped, every byte of its header checked. The file must not be changed while it is open. */
typedef struct nn_safetensors {
    int64_t count, metadata_count;
    nn_tensor *tensors;     /* in the order of the file */
    nn_text_pair *metadata; /* "__metadata__", in the order of the keys */
    const nn_tensor **by_name_;
    void *map_;
    size_t size_;
} nn_safetensors;

NN_API nn_safetensors nn_safetensors_open(const char *path, nn_error *e);
NN_API void nn_safetensors_close(nn_safetensors *file);
/* NULL if there is none. */
NN_API const nn_tensor *nn_safetensors_find(const nn_safetensors *file, const char *name);
NN_API const char *nn_safetensors_metadata(const nn_safetensors *file, const char *key);
/* A copy of a tensor; it is an error if there is none of that name. */
NN_API nn_array nn_safetensors_read(const nn_safetensors *file, const char *name, nn_error *e);
/* Written beside the old file, flushed to the disk, then put in its place: after an error (or a power failure) the old file is
 * what it was. Order: size of the type, then name; so tensors are aligned. */
NN_API void nn_safetensors_write(const char *path, const nn_tensor *tensors, int64_t count,
                                 const nn_text_pair *metadata, int64_t metadata_count, nn_error *e);

/* ---- data sets */

enum { NN_MAX_FIELDS = 8 };

/* Samples, each with the same fields (an image, a label); borrows the arrays that these are in. */
typedef struct nn_dataset {
    int64_t count; /* samples */
    int64_t *rows; /* which rows of the arrays they are; owned; NULL: all, in order */
    int field_count;
    struct nn_field {
        nn_type type;
        ag_shape shape; /* of one sample */
        const char *data;
        int64_t stride; /* bytes from a row to the next */
    } fields[NN_MAX_FIELDS];
} nn_dataset;

/* The rows (first dimension) of arrays, as many in each. Errors: AG_ERR_SHAPE; AG_ERR_VALUE if there are none. */
NN_API nn_dataset nn_dataset_of(const nn_array *arrays, int count, nn_error *e);
/* For language models: stretches of a vector of tokens, one beginning every `step` tokens; field 0 has tokens i .. i+length-1,
 * field 1 the ones after these, i+1 .. i+length. Split the tokens, not the set, if stretches overlap. */
NN_API nn_dataset nn_dataset_windows(const nn_array *tokens, int64_t length, int64_t step, nn_error *e);
/* A random part of the samples, `fraction` of them (rounded), and the others. Both parts keep the order of the samples; they
 * depend on the seed and on the number of samples alone. */
NN_API void nn_dataset_split(const nn_dataset *set, double fraction, uint64_t seed, nn_dataset *part,
                             nn_dataset *others, nn_error *e);
/* `count` samples from `first` on. */
NN_API nn_dataset nn_dataset_slice(const nn_dataset *set, int64_t first, int64_t count, nn_error *e);
NN_API void nn_dataset_free(nn_dataset *set); /* not the arrays */

/* Numbers minus their mean, divided by their standard deviation. Element j of a sample belongs to group
 * j * count / (elements of the sample). */
typedef struct nn_scale {
    nn_array mean, deviation; /* F64 (groups); a deviation of 0 became 1 */
    bool fill_missing;        /* NaN becomes 0, the mean */
} nn_scale;
typedef enum nn_grouping {
    NN_PER_FIELD,   /* one mean for everything */
    NN_PER_CHANNEL, /* one for each index along the sample's first axis */
    NN_PER_ELEMENT
} nn_grouping;
/* From the training part alone. NaN counts as missing. Errors: AG_ERR_VALUE for an infinite number, no samples, no field. */
NN_API nn_scale nn_scale_fit(const nn_dataset *set, int field, nn_grouping grouping, nn_error *e);
NN_API void nn_scale_free(nn_scale *scale);
/* In place, on F32 or F64 numbers: samples of `elements` each, a multiple of the groups. */
NN_API void nn_scale_apply(const nn_scale *scale, nn_type type, void *data, int64_t samples, int64_t elements,
                           nn_error *e);

/* ---- loaders */

/* For images: samples (..., height, width). What happens to a sample depends on seed, epoch and row alone. */
typedef struct nn_augment {
    int64_t crop_height, crop_width; /* size of a window at a random place; 0: all */
    int64_t shift; /* then up to so many pixels up, down, left, right; what comes in is 0, before it is
                                        scaled */
    bool flip;     /* left and right change places, every other time */
    bool centre;   /* the window in the middle, not shifted nor flipped: for validation */
} nn_augment;

typedef struct nn_batch {
    int64_t count;       /* samples */
    const int64_t *rows; /* of the arrays */
    int field_count;
    nn_array fields[NN_MAX_FIELDS]; /* (count, ...); borrowed, valid until the next call */
} nn_batch;

typedef struct nn_loader_options {
    int64_t batch; /* samples in a batch */
    bool shuffle, drop_last /* if it is smaller */;
    uint64_t seed;
    int threads; /* that prepare batches ahead; 0: one; -1: none, nn_loader_next does it */
    struct {
        nn_type type; /* of the batches: F32 unless you say otherwise */
        const nn_scale *scale;
        const nn_augment *augment;
    } fields[NN_MAX_FIELDS];
    /* Called for every batch, by the thread that prepares it: may change its numbers, or fail, which reaches whoever asks for
     * that batch. Batches of several threads at the same time. */
    void (*hook)(void *context, nn_batch *batch, nn_error *e);
    void *context;
} nn_loader_options;

/* Where a loader is. All that it does later depends on this, the options and the data. */
typedef struct nn_loader_state {
    uint64_t seed;
    int64_t epoch;
    int64_t position; /* samples of this epoch that were handed out */
} nn_loader_state;

typedef struct nn_loader nn_loader;

/* The set's arrays, scales and augmentations must outlive the loader; the set itself need not. NULL after an error.
 * Batches do not depend on the number of threads; where no thread can be started, the caller's does the work. */
NN_API nn_loader *nn_loader_new(const nn_dataset *set, const nn_loader_options *options, nn_error *e);
/* The next batch; false at the end of an epoch, after which comes the next one, and after an error. A value that does not fit
 * its type in the batch is an error, which names field and row. */
NN_API bool nn_loader_next(nn_loader *loader, nn_batch *batch, nn_error *e);
NN_API int64_t nn_loader_batches(const nn_loader *loader); /* in a whole epoch */
NN_API nn_loader_state nn_loader_where(const nn_loader *loader);
/* Goes on from a state of another loader of the same data and options: AG_ERR_VALUE if its position cannot be. */
NN_API void nn_loader_seek(nn_loader *loader, nn_loader_state state, nn_error *e);
/* At any time: waits for its threads. */
NN_API void nn_loader_free(nn_loader *loader);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif
