/* Reading safetensors: 8 bytes length, a header in JSON, then the tensors' bytes without holes.
 * https://huggingface.co/docs/safetensors, "Format". */
#include "nn/data/json_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* What is read, and how much of it there is room for. */
typedef struct reading {
    nn_json json;
    nn_safetensors *file;
    int64_t tensor_room, metadata_room;
    const uint8_t *data;
    size_t data_size;
} reading;

/* ---- the header ---- */

static void read_type(nn_json *j, nn_tensor *t, nn_error *e) {
    char *text = nn_json_text(j, e), what[96];
    if (text != NULL && !nn_type_of_safetensors(text, &t->type)) {
        (void)snprintf(what, sizeof what, "numbers of type \"%.40s\" are not supported", text);
        nn_json_fail(j, what, e);
    }
    nn_release(text);
}

static void read_shape(nn_json *j, nn_tensor *t, nn_error *e) {
    bool first = true;
    nn_json_expect(j, '[', e);
    while (nn_json_more(j, ']', &first, e)) {
        if (t->shape.rank == AG_MAX_RANK) nn_json_fail(j, "more than 8 dimensions", e);
        else t->shape.dim[t->shape.rank++] = nn_json_integer(j, e);
    }
}

static void read_offsets(nn_json *j, int64_t offsets[2], nn_error *e) {
    nn_json_expect(j, '[', e);
    offsets[0] = nn_json_integer(j, e);
    nn_json_expect(j, ',', e);
    offsets[1] = nn_json_integer(j, e);
    nn_json_expect(j, ']', e);
}

static void check_tensor(const reading *r, nn_tensor *t, const int64_t offsets[2], nn_error *e) {
    char what[320], shape[NN_SHAPE_TEXT];
    int64_t size = (int64_t)nn_type_size(t->type), count = nn_elements(t->shape, (size_t)size);
    if (offsets[0] > offsets[1] || (uint64_t)offsets[1] > r->data_size)
        (void)snprintf(what, sizeof what, "bytes %" PRId64 " to %" PRId64 " of %zu", offsets[0], offsets[1],
                       r->data_size);
    else if (count < 0 || count * size != offsets[1] - offsets[0])
        (void)snprintf(what, sizeof what, "a tensor %s of %s has %" PRId64 " bytes", nn_shape_words(t->shape, shape),
                       nn_type_name(t->type), offsets[1] - offsets[0]);
    else {
        t->data = r->data + offsets[0];
        return;
    }
    nn_json_fail(&r->json, what, e);
}

static void read_tensor(reading *r, nn_tensor *t, nn_error *e) {
    static const char *const keys[] = {"dtype", "shape", "data_offsets"};
    nn_json *j = &r->json;
    int64_t offsets[2] = {0};
    bool first = true, seen[3] = {false};
    nn_json_expect(j, '{', e);
    while (nn_json_more(j, '}', &first, e)) {
        char *key = nn_json_text(j, e);
        int which = 0;
        while (key != NULL && which < 3 && strcmp(key, keys[which]) != 0) which++;
        nn_release(key);
        if (!nn_ok(e)) return;
        if (which == 3 || seen[which]) {
            nn_json_fail(j, which == 3 ? "an unknown key" : "the key for the second time", e);
            return;
        }
        seen[which] = true;
        nn_json_expect(j, ':', e);
        if (which == 0) read_type(j, t, e);
        else if (which == 1) read_shape(j, t, e);
        else read_offsets(j, offsets, e);
    }
    if (!nn_ok(e)) return;
    if (!seen[0] || !seen[1] || !seen[2]) nn_json_fail(j, "dtype, shape or data_offsets is missing", e);
    else check_tensor(r, t, offsets, e);
}

static void read_metadata(reading *r, nn_error *e) {
    nn_safetensors *f = r->file;
    bool first = true;
    nn_json_expect(&r->json, '{', e);
    while (nn_json_more(&r->json, '}', &first, e)) {
        nn_text_pair *pair =
            nn_append((void **)&f->metadata, &f->metadata_count, &r->metadata_room, sizeof *pair, "metadata", e);
        if (pair == NULL) return;
        pair->key = nn_json_text(&r->json, e);
        nn_json_expect(&r->json, ':', e);
        pair->value = nn_json_text(&r->json, e);
    }
}

static void read_header(reading *r, nn_error *e) {
    nn_safetensors *f = r->file;
    bool first = true, metadata = false;
    nn_json_expect(&r->json, '{', e);
    while (nn_json_more(&r->json, '}', &first, e)) {
        char *name = nn_json_text(&r->json, e);
        nn_json_expect(&r->json, ':', e);
        if (name != NULL && strcmp(name, "__metadata__") == 0) {
            nn_release(name);
            if (metadata) nn_json_fail(&r->json, "__metadata__ for the second time", e);
            else read_metadata(r, e);
            metadata = true;
            continue;
        }
        nn_tensor *t =
            nn_ok(e) ? nn_append((void **)&f->tensors, &f->count, &r->tensor_room, sizeof *t, "tensors", e) : NULL;
        if (t == NULL) {
            nn_release(name);
            return;
        }
        *t = (nn_tensor){.name = name};
        read_tensor(r, t, e);
    }
    while (r->json.at < r->json.end && *r->json.at == ' ') r->json.at++; /* padding */
    if (nn_ok(e) && r->json.at < r->json.end) nn_json_fail(&r->json, "something follows the header", e);
}

/* ---- all of them together ---- */

static int by_place(const void *a, const void *b) {
    const nn_tensor *x = a, *y = b;
    const char *p = x->data, *q = y->data;
    if (p != q) return p < q ? -1 : 1;
    int64_t m = nn_elements(x->shape, 1), n = nn_elements(y->shape, 1); /* empty ones first, then by name */
    return m != n && (m == 0 || n == 0) ? (m == 0 ? -1 : 1) : strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const nn_tensor *const *)a)->name, (*(const nn_tensor *const *)b)->name);
}

static int by_key(const void *a, const void *b) {
    return strcmp(((const nn_text_pair *)a)->key, ((const nn_text_pair *)b)->key);
}

static void check_places(const reading *r, nn_error *e) {
    const uint8_t *end = r->data;
    const char *before = "";
    for (int64_t i = 0; i < r->file->count; i++) {
        const nn_tensor *t = &r->file->tensors[i];
        const uint8_t *begin = t->data;
        if (begin != end) {
            nn_fail(e, AG_ERR_VALUE, "%.120s: tensor \"%.80s\" %s \"%.80s\"", r->json.name, t->name,
                    begin < end ? "overlaps" : "leaves a hole behind", before);
            return;
        }
        end = begin + (size_t)nn_elements(t->shape, 1) * nn_type_size(t->type);
        before = t->name;
    }
    if ((size_t)(end - r->data) != r->data_size)
        nn_fail(e, AG_ERR_VALUE, "%.200s: %zu bytes at the end belong to no tensor", r->json.name,
                r->data_size - (size_t)(end - r->data));
}

static void put_in_order(reading *r, nn_error *e) {
    nn_safetensors *f = r->file;
    if (f->count > 0) qsort(f->tensors, (size_t)f->count, sizeof *f->tensors, by_place);
    if (f->metadata_count > 0) qsort(f->metadata, (size_t)f->metadata_count, sizeof *f->metadata, by_key);
    f->by_name_ = nn_take((size_t)f->count, sizeof *f->by_name_, r->json.name, e);
    if (!nn_ok(e)) return;
    for (int64_t i = 0; i < f->count; i++) f->by_name_[i] = &f->tensors[i];
    qsort(f->by_name_, (size_t)f->count, sizeof *f->by_name_, by_name);
    for (int64_t i = 1; i < f->count; i++)
        if (by_name(&f->by_name_[i - 1], &f->by_name_[i]) == 0)
            nn_fail(e, AG_ERR_VALUE, "%.160s: two tensors with the name \"%.80s\"", r->json.name, f->by_name_[i]->name);
    for (int64_t i = 1; i < f->metadata_count; i++)
        if (by_key(&f->metadata[i - 1], &f->metadata[i]) == 0)
            nn_fail(e, AG_ERR_VALUE, "%.160s: metadata has two of \"%.80s\"", r->json.name, f->metadata[i].key);
}

void nn_safetensors_parse(const char *name, const uint8_t *bytes, size_t size, nn_safetensors *file, nn_error *e) {
    uint64_t length = 0;
    if (!nn_ok(e)) return;
    for (size_t i = 8; size >= 8 && i-- > 0;) length = length << 8 | bytes[i];
    if (size < 8 || length < 2 || length > size - 8 || length > NN_MOST_HEADER || bytes[8] != '{') {
        nn_fail(e, AG_ERR_VALUE, "%.200s: not a safetensors file: a header of %" PRIu64 " bytes in a file of %zu", name,
                length, size);
        return;
    }
    const uint8_t *data = bytes + 8 + length;
    reading r = {
        .json = {name, bytes, bytes + 8, data}, .file = file, .data = data, .data_size = size - 8 - (size_t)length};
    read_header(&r, e);
    if (nn_ok(e)) put_in_order(&r, e);
    if (nn_ok(e)) check_places(&r, e);
}

/* ---- files ---- */

nn_safetensors nn_safetensors_open(const char *path, nn_error *e) {
    nn_safetensors file = {0};
    struct stat status;
    if (!nn_given(path, "the path of a file to be read", e)) return file;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0) {
        nn_fail(e, AG_ERR_FILE, "%.200s: cannot be opened: %s", path, strerror(errno));
    } else if (!S_ISREG(status.st_mode)) {
        nn_fail(e, AG_ERR_FILE, "%.200s: cannot be mapped: not a regular file", path);
    } else if (status.st_size == 0) {
        nn_fail(e, AG_ERR_VALUE, "%.200s: not a safetensors file: it is empty", path);
    } else {
        void *map = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED) {
            nn_fail(e, AG_ERR_FILE, "%.200s: cannot be mapped: %s", path, strerror(errno));
        } else {
            file.map_ = map;
            file.size_ = (size_t)status.st_size;
            nn_safetensors_parse(path, map, file.size_, &file, e);
        }
    }
    if (fd >= 0) (void)close(fd);
    if (!nn_ok(e)) nn_safetensors_close(&file);
    return file;
}

void nn_safetensors_close(nn_safetensors *file) {
    if (file == NULL) return;
    for (int64_t i = 0; i < file->count; i++) nn_release((char *)file->tensors[i].name);
    for (int64_t i = 0; i < file->metadata_count; i++) {
        nn_release((char *)file->metadata[i].key);
        nn_release((char *)file->metadata[i].value);
    }
    nn_release(file->tensors);
    nn_release(file->metadata);
    nn_release((void *)file->by_name_);
    if (file->map_ != NULL) (void)munmap(file->map_, file->size_);
    *file = (nn_safetensors){0};
}

const nn_tensor *nn_safetensors_find(const nn_safetensors *file, const char *name) {
    nn_tensor wanted = {.name = name};
    const nn_tensor *key = &wanted, **found;
    if (file == NULL || name == NULL || file->count == 0) return NULL;
    found = bsearch(&key, file->by_name_, (size_t)file->count, sizeof *file->by_name_, by_name);
    return found != NULL ? *found : NULL;
}

const char *nn_safetensors_metadata(const nn_safetensors *file, const char *key) {
    nn_text_pair wanted = {.key = key}, *found;
    if (file == NULL || key == NULL || file->metadata_count == 0) return NULL;
    found = bsearch(&wanted, file->metadata, (size_t)file->metadata_count, sizeof *file->metadata, by_key);
    return found != NULL ? found->value : NULL;
}

nn_array nn_safetensors_read(const nn_safetensors *file, const char *name, nn_error *e) {
    if (!nn_given(file, "safetensors: the file", e) || !nn_given(name, "safetensors: the name of a tensor", e))
        return (nn_array){.type = NN_F32};
    const nn_tensor *t = nn_ok(e) ? nn_safetensors_find(file, name) : NULL;
    if (t == NULL) {
        nn_fail(e, AG_ERR_VALUE, "safetensors: there is no tensor \"%.80s\"", name);
        return (nn_array){.type = NN_F32};
    }
    nn_array array = nn_array_new(t->type, t->shape, e);
    int64_t count = nn_array_count(&array);
    if (count > 0) memcpy(array.data, t->data, (size_t)count * nn_type_size(t->type));
    if (nn_big_endian()) nn_swap_bytes(array.data, count, nn_type_size(t->type));
    return array;
}
