/* Images that are cropped, shifted and flipped as they are copied. */
#include "nn/data/data_impl.h"

#include "nn/random.h"

#include <inttypes.h>
#include <string.h>

ag_shape nn_augmented_shape(const nn_augment *a, ag_shape shape, nn_error *e) {
    char text[NN_SHAPE_TEXT];
    if (a == NULL || !nn_ok(e)) return shape;
    if (shape.rank < 2) {
        nn_fail(e, AG_ERR_SHAPE, "augment: samples of shape %s are no images", nn_shape_words(shape, text));
        return shape;
    }
    int64_t *height = &shape.dim[shape.rank - 2], *width = &shape.dim[shape.rank - 1];
    if (a->crop_height < 0 || a->crop_width < 0 || a->crop_height > *height || a->crop_width > *width || a->shift < 0 ||
        a->shift > INT32_MAX)
        nn_fail(e, AG_ERR_VALUE,
                "augment: a window of %" PRId64 " x %" PRId64 ", shifted by up to %" PRId64 ", in images of %" PRId64
                " x %" PRId64,
                a->crop_height, a->crop_width, a->shift, *height, *width);
    if (a->crop_height > 0) *height = a->crop_height;
    if (a->crop_width > 0) *width = a->crop_width;
    return shape;
}

/* Where the window's corner lies in the image, and whether it is flipped. */
typedef struct window {
    int64_t top, left;
    bool flip;
} window;

static window choose(const nn_augment *a, int64_t free_rows, int64_t free_columns, uint64_t key) {
    window w = {free_rows / 2, free_columns / 2, false};
    nn_random random = {key};
    if (a->centre) return w;
    w.top = nn_random_below(&random, free_rows + 1) + nn_random_below(&random, 2 * a->shift + 1) - a->shift;
    w.left = nn_random_below(&random, free_columns + 1) + nn_random_below(&random, 2 * a->shift + 1) - a->shift;
    w.flip = a->flip && nn_random_below(&random, 2) == 1;
    return w;
}

static void reverse(char *row, int64_t width, size_t size) {
    for (int64_t x = 0; x < width / 2; x++) {
        char *a = row + (size_t)x * size, *b = row + (size_t)(width - 1 - x) * size;
        for (size_t k = 0; k < size; k++) {
            char byte = a[k];
            a[k] = b[k];
            b[k] = byte;
        }
    }
}

/* A row of `width` elements from `left` on, of a row of `all`; what is outside is 0. */
static void copy_row(const char *from, int64_t all, int64_t left, bool flip, char *to, int64_t width, size_t size) {
    int64_t begin = left < 0 ? -left : 0, end = left + width > all ? all - left : width; /* what is inside */
    memset(to, 0, (size_t)width * size);
    if (begin < end)
        memcpy(to + (size_t)begin * size, from + (size_t)(left + begin) * size, (size_t)(end - begin) * size);
    if (flip) reverse(to, width, size);
}

void nn_augment_sample(const nn_augment *a, ag_shape shape, size_t size, const char *from, char *to, uint64_t key) {
    int64_t height = shape.dim[shape.rank - 2], width = shape.dim[shape.rank - 1], images = 1;
    int64_t rows = a->crop_height > 0 ? a->crop_height : height, columns = a->crop_width > 0 ? a->crop_width : width;
    window w = choose(a, height - rows, width - columns, key);
    for (int i = 0; i < shape.rank - 2; i++) images *= shape.dim[i];
    for (int64_t i = 0; i < images; i++, from += (size_t)(height * width) * size)
        for (int64_t y = 0; y < rows; y++, to += (size_t)columns * size) {
            int64_t row = w.top + y;
            if (row >= 0 && row < height)
                copy_row(from + (size_t)(row * width) * size, width, w.left, w.flip, to, columns, size);
            else memset(to, 0, (size_t)columns * size);
        }
}
