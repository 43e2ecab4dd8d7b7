/* NumPy's .npy: "\x93NUMPY", version, a header that is a dictionary in Python, the numbers.
 * https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html */
#include "nn/data/json_impl.h"

#include <inttypes.h>
#include <string.h>

/* ---- the header ---- */

typedef struct header {
    nn_json c; /* where we are: Python's dictionary has marks and blanks as JSON has */
    bool swapped, fortran;
    nn_type type;
    ag_shape shape;
    bool has_type, has_order, has_shape;
} header;

static bool take_word(header *h, const char *word) {
    size_t length = strlen(word);
    nn_json_skip_blanks(&h->c);
    if ((size_t)(h->c.end - h->c.at) < length || memcmp(h->c.at, word, length) != 0) return false;
    h->c.at += length;
    return true;
}

enum { MOST_TEXT = 32 };

static void read_text(header *h, char text[MOST_TEXT], nn_error *e) {
    nn_json_skip_blanks(&h->c);
    uint8_t quote = h->c.at < h->c.end ? *h->c.at : 0;
    size_t length = 0;
    text[0] = 0;
    if (!nn_ok(e)) return;
    if (quote != '\'' && quote != '"') {
        nn_json_fail(&h->c, quote == '[' ? "structures are not supported" : "there should be a text in quotes", e);
        return;
    }
    for (h->c.at++; h->c.at < h->c.end && *h->c.at != quote && length + 1 < MOST_TEXT; h->c.at++)
        text[length++] = (char)*h->c.at;
    text[length] = 0;
    if (h->c.at == h->c.end || *h->c.at != quote) nn_json_fail(&h->c, "a text does not end", e);
    else h->c.at++;
}

static void read_type(header *h, nn_error *e) {
    char text[MOST_TEXT], what[96];
    read_text(h, text, e);
    if (!nn_ok(e)) return;
    bool little = text[0] == '<' || text[0] == '|' || (text[0] == '=' && !nn_big_endian());
    bool big = text[0] == '>' || (text[0] == '=' && nn_big_endian());
    if ((little || big) && strlen(text) == 3 && nn_type_of_npy(text + 1, &h->type)) {
        h->swapped = big != nn_big_endian();
    } else {
        (void)snprintf(what, sizeof what, "numbers of type \"%s\" are not supported", text);
        nn_json_fail(&h->c, what, e);
    }
}

static void read_dimension(header *h, nn_error *e) {
    int64_t n = 0;
    nn_json_skip_blanks(&h->c);
    if (h->c.at == h->c.end || *h->c.at < '0' || *h->c.at > '9') nn_json_fail(&h->c, "there should be a dimension", e);
    else if (h->shape.rank == AG_MAX_RANK) nn_json_fail(&h->c, "more than 8 dimensions", e);
    for (; nn_ok(e) && h->c.at < h->c.end && *h->c.at >= '0' && *h->c.at <= '9'; h->c.at++) {
        if (n > (INT64_MAX - 9) / 10) nn_json_fail(&h->c, "the dimension is too large", e);
        else n = 10 * n + (*h->c.at - '0');
    }
    if (!nn_ok(e)) return;
    (void)nn_json_take(&h->c, 'L'); /* Python 2 */
    h->shape.dim[h->shape.rank++] = n;
}

static void read_shape(header *h, nn_error *e) {
    nn_json_expect(&h->c, '(', e);
    while (nn_ok(e) && !nn_json_take(&h->c, ')')) {
        read_dimension(h, e);
        if (nn_ok(e) && !nn_json_take(&h->c, ',')) {
            if (h->shape.rank == 1) nn_json_fail(&h->c, "a shape of one dimension needs a comma", e);
            nn_json_expect(&h->c, ')', e);
            break;
        }
    }
}

static void read_entry(header *h, nn_error *e) {
    char key[MOST_TEXT];
    bool *seen = NULL;
    read_text(h, key, e);
    nn_json_expect(&h->c, ':', e);
    if (!nn_ok(e)) return;
    if (strcmp(key, "descr") == 0) seen = &h->has_type;
    else if (strcmp(key, "fortran_order") == 0) seen = &h->has_order;
    else if (strcmp(key, "shape") == 0) seen = &h->has_shape;
    if (seen == NULL || *seen) {
        nn_json_fail(&h->c, seen == NULL ? "an unknown key" : "the key for the second time", e);
        return;
    }
    *seen = true;
    if (seen == &h->has_type) read_type(h, e);
    else if (seen == &h->has_shape) read_shape(h, e);
    else if (take_word(h, "True")) h->fortran = true;
    else if (!take_word(h, "False")) nn_json_fail(&h->c, "there should be True or False", e);
}

static void read_dictionary(header *h, nn_error *e) {
    nn_json_expect(&h->c, '{', e);
    while (nn_ok(e) && !nn_json_take(&h->c, '}')) {
        read_entry(h, e);
        if (nn_ok(e) && !nn_json_take(&h->c, ',')) {
            nn_json_expect(&h->c, '}', e);
            break;
        }
    }
    nn_json_skip_blanks(&h->c);
    if (!nn_ok(e)) return;
    if (!h->has_type || !h->has_order || !h->has_shape)
        nn_json_fail(&h->c, "descr, fortran_order or shape is missing", e);
    else if (h->c.at != h->c.end) nn_json_fail(&h->c, "something follows the header", e);
}

/* Leaves `at` behind it. `end` is that of the bytes; then of the header while it is read. */
static void read_header(header *h, nn_error *e) {
    static const uint8_t magic[] = {0x93, 'N', 'U', 'M', 'P', 'Y'};
    size_t size = (size_t)(h->c.end - h->c.start), length = 0, head = 10;
    if (size < 10 || memcmp(h->c.start, magic, sizeof magic) != 0) {
        nn_fail(e, AG_ERR_VALUE, "%.200s: not a .npy file", h->c.name);
        return;
    }
    if (h->c.start[6] < 1 || h->c.start[6] > 3 || h->c.start[7] != 0) {
        nn_fail(e, AG_ERR_VALUE, "%.200s: .npy version %d.%d is not supported", h->c.name, h->c.start[6],
                h->c.start[7]);
        return;
    }
    if (h->c.start[6] > 1) head = 12;
    for (size_t i = head; i-- > 8 && i < size;) length = length << 8 | h->c.start[i];
    if (size < head || length > size - head) {
        nn_fail(e, AG_ERR_VALUE, "%.200s: a header of %zu bytes in a file of %zu", h->c.name, length, size);
        return;
    }
    const uint8_t *end = h->c.end;
    h->c.at = h->c.start + head;
    h->c.end = h->c.at + length;
    read_dictionary(h, e);
    h->c.end = end;
}

/* ---- the numbers ---- */

/* From column-major to row-major: walks over the target, with the source's strides. */
static void transpose(ag_shape shape, size_t size, const uint8_t *from, char *to, int64_t count) {
    int64_t index[AG_MAX_RANK] = {0}, stride[AG_MAX_RANK], step = 1, at = 0;
    for (int i = 0; i < shape.rank; i++) {
        stride[i] = step;
        step *= shape.dim[i];
    }
    for (int64_t n = 0; n < count; n++) {
        memcpy(to + (size_t)n * size, from + (size_t)at * size, size);
        for (int i = shape.rank - 1; i >= 0; i--) {
            at += stride[i];
            if (++index[i] < shape.dim[i]) break;
            at -= stride[i] * shape.dim[i];
            index[i] = 0;
        }
    }
}

nn_array nn_npy_parse(const char *name, const uint8_t *bytes, size_t size, nn_error *e) {
    nn_array array = {.type = NN_F32};
    if (!nn_ok(e)) return array;
    header h = {.c = {name, bytes, bytes, bytes + size}};
    read_header(&h, e);
    if (!nn_ok(e)) return array;
    size_t width = nn_type_size(h.type), left = (size_t)(h.c.end - h.c.at);
    array = nn_array_of_bytes(name, h.type, h.shape, left, e);
    if (array.data == NULL) return array;
    int64_t count = nn_array_count(&array);
    if (h.fortran && h.shape.rank > 1) transpose(h.shape, width, h.c.at, array.data, count);
    else if (count > 0) memcpy(array.data, h.c.at, left);
    if (h.swapped) nn_swap_bytes(array.data, count, width);
    return array;
}

nn_array nn_npy_read(const char *path, nn_error *e) {
    nn_content content = nn_content_read(path, e);
    nn_array array = nn_npy_parse(path, content.bytes, content.size, e);
    nn_content_free(&content);
    return array;
}

/* ---- writing ---- */

enum { ALIGNED = 64 };

static void write_header(FILE *out, const nn_array *array) {
    char text[NN_SHAPE_TEXT + 128], shape[NN_SHAPE_TEXT];
    (void)nn_shape_words(array->shape, shape);
    if (array->shape.rank == 1) (void)snprintf(shape, sizeof shape, "(%" PRId64 ",)", array->shape.dim[0]);
    size_t length = (size_t)snprintf(text, sizeof text, "{'descr': '%c%s', 'fortran_order': False, 'shape': %s, }",
                                     nn_type_size(array->type) == 1 ? '|'
                                     : nn_big_endian()              ? '>'
                                                                    : '<',
                                     nn_type_npy(array->type), shape);
    size_t whole = (10 + length + 1 + ALIGNED - 1) / ALIGNED * ALIGNED, rest = whole - 10;
    (void)fprintf(out, "\x93NUMPY\x01%c%c%c%s%*s\n", 0, (int)(rest & 255), (int)(rest >> 8), text,
                  (int)(rest - length - 1), "");
}

void nn_npy_write(const char *path, const nn_array *array, nn_error *e) {
    if (!nn_given(path, "the path of a file to be written", e) || !nn_given(array, "the array to be written", e) ||
        !nn_check_array(array, path, e))
        return;
    if (array->data == NULL || nn_type_npy(array->type) == NULL) {
        nn_fail(e, AG_ERR_VALUE, "%.200s: %s", path,
                array->data == NULL ? "there is no array to write" : "NumPy has no numbers of type BF16");
        return;
    }
    nn_replacement r = nn_replace_begin(path, e);
    if (r.file != NULL) {
        write_header(r.file, array);
        (void)fwrite(array->data, nn_type_size(array->type), (size_t)nn_array_count(array), r.file);
    }
    nn_replace_end(&r, e);
}
