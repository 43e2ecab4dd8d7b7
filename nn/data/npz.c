/* NumPy's .npz: a zip archive of .npy files, stored or deflated. APPNOTE.TXT 6.3 of PKWARE, sections 4.3 to 4.5.
 * The directory at the archive's end is what counts; of the entries' own headers only the length is used. */
#include "nn/data/data_impl.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

typedef struct zip {
    const char *name;
    const uint8_t *bytes;
    size_t size;
} zip;

typedef struct entry {
    unsigned flags, method;
    uint32_t crc;
    uint64_t packed, size, offset; /* offset of its own header */
    const char *name;
    size_t name_length;
} entry;

enum { END = 22, END64 = 56, LOCATOR64 = 20, DIRECTORY = 46, LOCAL = 30, MOST_ENTRIES = UINT16_MAX };
#define END_SIGNATURE UINT32_C(0x06054b50)
#define END64_SIGNATURE UINT32_C(0x06064b50)
#define LOCATOR64_SIGNATURE UINT32_C(0x07064b50)
#define DIRECTORY_SIGNATURE UINT32_C(0x02014b50)
#define LOCAL_SIGNATURE UINT32_C(0x04034b50)

static uint64_t get(const uint8_t *at, int bytes) {
    uint64_t value = 0;
    while (bytes-- > 0) value = value << 8 | at[bytes];
    return value;
}
static unsigned get16(const uint8_t *at) { return (unsigned)get(at, 2); }
static uint32_t get32(const uint8_t *at) { return (uint32_t)get(at, 4); }

static bool within(const zip *z, uint64_t offset, uint64_t size) {
    return offset <= z->size && size <= z->size - offset;
}

static void fail_at(const zip *z, uint64_t offset, const char *what, nn_error *e) {
    nn_fail(e, AG_ERR_VALUE, "%.200s: byte %llu: %s", z->name, (unsigned long long)offset, what);
}

/* ---- the directory ---- */

/* The end record, behind which is only a comment; its offset, or -1. */
static int64_t find_end(const zip *z) {
    for (size_t comment = 0; comment <= UINT16_MAX && comment + END <= z->size; comment++) {
        const uint8_t *at = z->bytes + (z->size - END - comment);
        if (get32(at) == END_SIGNATURE && get16(at + 20) == comment) return (int64_t)(at - z->bytes);
    }
    return -1;
}

static void find_directory(const zip *z, uint64_t *entries, uint64_t *offset, uint64_t *size, nn_error *e) {
    int64_t end = find_end(z);
    if (end < 0) {
        nn_fail(e, AG_ERR_VALUE, "%.200s: not a zip archive, or its end is missing", z->name);
        return;
    }
    const uint8_t *at = z->bytes + end;
    *entries = get16(at + 10);
    *size = get32(at + 12);
    *offset = get32(at + 16);
    if (end >= LOCATOR64 && get32(at - LOCATOR64) == LOCATOR64_SIGNATURE) {
        uint64_t end64 = get(at - LOCATOR64 + 8, 8);
        if (!within(z, end64, END64) || get32(z->bytes + end64) != END64_SIGNATURE) {
            fail_at(z, (uint64_t)end, "the 64-bit end record is not where it should be", e);
            return;
        }
        *entries = get(z->bytes + end64 + 32, 8);
        *size = get(z->bytes + end64 + 40, 8);
        *offset = get(z->bytes + end64 + 48, 8);
    }
    if (!within(z, *offset, *size) || *entries > *size / DIRECTORY)
        fail_at(z, (uint64_t)end, "the directory does not fit into the file", e);
    else if (*entries > MOST_ENTRIES) fail_at(z, (uint64_t)end, "more than 65535 arrays", e);
}

/* Sizes that did not fit into 32 bits are in the extra field 1, in this order. */
static void read_extra64(entry *n, const uint8_t *at, size_t size) {
    while (size >= 4) {
        size_t length = get16(at + 2);
        if (length > size - 4) return;
        if (get16(at) == 1) {
            const uint8_t *value = at + 4;
            uint64_t *wide[] = {&n->size, &n->packed, &n->offset};
            for (int i = 0; i < 3; i++)
                if (*wide[i] == UINT32_MAX && length >= 8) {
                    *wide[i] = get(value, 8);
                    value += 8;
                    length -= 8;
                }
            return;
        }
        at += 4 + length;
        size -= 4 + length;
    }
}

/* The entry at *offset, which moves behind it. */
static entry read_entry(const zip *z, uint64_t *offset, uint64_t end, nn_error *e) {
    entry n = {0};
    const uint8_t *at = z->bytes + *offset;
    if (end - *offset < DIRECTORY || get32(at) != DIRECTORY_SIGNATURE) {
        fail_at(z, *offset, "there should be an entry of the directory", e);
        return n;
    }
    size_t name = get16(at + 28), extra = get16(at + 30), length = DIRECTORY + name + extra + get16(at + 32);
    if (length > end - *offset) {
        fail_at(z, *offset, "an entry goes beyond the directory", e);
        return n;
    }
    n = (entry){.flags = get16(at + 8),
                .method = get16(at + 10),
                .crc = get32(at + 16),
                .packed = get32(at + 20),
                .size = get32(at + 24),
                .offset = get32(at + 42),
                .name = (const char *)at + DIRECTORY,
                .name_length = name};
    read_extra64(&n, at + DIRECTORY + name, extra);
    *offset += length;
    return n;
}

/* ---- the entries ---- */

static bool crc_fits(const uint8_t *bytes, size_t size, uint32_t crc) {
    return (uint32_t)crc32_z(0, bytes, size) == crc;
}

static nn_array read_array(const zip *z, const entry *n, nn_error *e) {
    nn_content content = {0};
    nn_array array = {.type = NN_F32};
    char name[256];
    if (!nn_ok(e)) return array;
    (void)snprintf(name, sizeof name, "%.160s: %.*s", z->name, (int)(n->name_length < 80 ? n->name_length : 80),
                   n->name);
    if (!within(z, n->offset, LOCAL) || get32(z->bytes + n->offset) != LOCAL_SIGNATURE) {
        fail_at(z, n->offset, "there should be an entry", e);
        return array;
    }
    const uint8_t *at = z->bytes + n->offset;
    uint64_t start = n->offset + LOCAL + get16(at + 26) + get16(at + 28);
    if (!within(z, start, n->packed)) {
        fail_at(z, n->offset, "an entry goes beyond the file", e);
        return array;
    }
    const uint8_t *data = z->bytes + start;
    if (n->flags & 1) nn_fail(e, AG_ERR_VALUE, "%s: is encrypted", name);
    else if (n->method == 8) content = nn_inflate(name, data, (size_t)n->packed, (size_t)n->size, e);
    else if (n->method != 0) nn_fail(e, AG_ERR_VALUE, "%s: compression method %u is not supported", name, n->method);
    else if (n->size != n->packed) nn_fail(e, AG_ERR_VALUE, "%s: two different sizes", name);
    if (content.bytes != NULL) data = content.bytes;
    if (nn_ok(e) && !crc_fits(data, (size_t)n->size, n->crc))
        nn_fail(e, AG_ERR_VALUE, "%s: the checksum is wrong", name);
    array = nn_npy_parse(name, data, (size_t)n->size, e);
    nn_content_free(&content);
    return array;
}

/* "weights.npy" is called "weights". */
static char *array_name(const entry *n, nn_error *e) {
    size_t length = n->name_length;
    if (length > 4 && memcmp(n->name + length - 4, ".npy", 4) == 0) length -= 4;
    return nn_copy_text(n->name, length, e);
}

/* Zip tools write entries for folders, too. */
static bool is_folder(const entry *n) {
    return n->size == 0 && n->name_length > 0 && n->name[n->name_length - 1] == '/';
}

/* Entries that share bytes could expand to any size. */
static void count_bytes(const zip *z, const entry *n, uint64_t *used, nn_error *e) {
    if (!within(z, LOCAL, n->packed) || !within(z, *used, LOCAL + n->packed))
        fail_at(z, n->offset, "entries overlap, or go beyond the file", e);
    else *used += LOCAL + n->packed;
}

static void add_array(const zip *z, const entry *n, nn_arrays *arrays, nn_error *e) {
    char *name = array_name(n, e);
    arrays->arrays[arrays->count] = read_array(z, n, e);
    arrays->names[arrays->count++] = name;
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void check_names(const nn_arrays *arrays, const char *name, nn_error *e) {
    char **sorted = nn_take((size_t)arrays->count, sizeof *sorted, name, e);
    if (sorted != NULL && arrays->count > 0) {
        memcpy(sorted, arrays->names, (size_t)arrays->count * sizeof *sorted);
        qsort(sorted, (size_t)arrays->count, sizeof *sorted, by_text);
    }
    for (int64_t i = 1; nn_ok(e) && i < arrays->count; i++)
        if (strcmp(sorted[i - 1], sorted[i]) == 0)
            nn_fail(e, AG_ERR_VALUE, "%.160s: two arrays with the name \"%.80s\"", name, sorted[i]);
    nn_release(sorted);
}

nn_arrays nn_npz_parse(const char *name, const uint8_t *bytes, size_t size, nn_error *e) {
    zip z = {name, bytes, size};
    nn_arrays arrays = {0};
    uint64_t entries = 0, offset = 0, length = 0, used = 0;
    if (!nn_ok(e)) return arrays;
    find_directory(&z, &entries, &offset, &length, e);
    arrays.names = nn_take((size_t)entries, sizeof *arrays.names, name, e);
    arrays.arrays = nn_take((size_t)entries, sizeof *arrays.arrays, name, e);
    for (uint64_t end = offset + length, i = 0; nn_ok(e) && i < entries; i++) {
        entry n = read_entry(&z, &offset, end, e);
        if (nn_ok(e)) count_bytes(&z, &n, &used, e);
        if (nn_ok(e) && !is_folder(&n)) add_array(&z, &n, &arrays, e);
    }
    check_names(&arrays, name, e);
    if (!nn_ok(e)) nn_arrays_free(&arrays);
    return arrays;
}

nn_arrays nn_npz_read(const char *path, nn_error *e) {
    nn_content content = nn_content_read(path, e);
    nn_arrays arrays = nn_npz_parse(path, content.bytes, content.size, e);
    nn_content_free(&content);
    return arrays;
}
