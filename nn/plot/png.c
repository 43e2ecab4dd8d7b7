/* Images as PNG (ISO/IEC 15948): a signature, then chunks of length, name, bytes and CRC-32. */
#include "nn/plot/plot_impl.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <zlib.h>

static void put_number(FILE *out, uint64_t number) {
    for (int shift = 24; shift >= 0; shift -= 8) (void)fputc((int)(number >> shift & 255), out);
}

static void put_chunk(FILE *out, const char *name, const uint8_t *bytes, size_t size) {
    put_number(out, size);
    (void)fwrite(name, 1, 4, out);
    if (size > 0) (void)fwrite(bytes, 1, size, out);
    uLong sum = crc32_z(0, (const Bytef *)name, 4);
    put_number(out, size > 0 ? crc32_z(sum, bytes, size) : sum);
}

static void *take(void *unused, unsigned count, unsigned size) {
    (void)unused;
    return nn_allocate(count, size);
}
static void give(void *unused, void *memory) {
    (void)unused;
    nn_release(memory);
}

/* Chunks of the compressed rows, each behind a byte that says it is not filtered. */
static void put_rows(FILE *out, const uint8_t *rows, int64_t height, size_t bytes, nn_error *e) {
    enum { ROOM = 1 << 16 };
    z_stream z = {.zalloc = take, .zfree = give};
    uint8_t *room = nn_take(ROOM, 1, "png", e), none = 0;
    if (nn_ok(e) && deflateInit(&z, Z_DEFAULT_COMPRESSION) != Z_OK) nn_fail(e, AG_ERR_MEMORY, "png: out of memory");
    if (nn_ok(e)) {
        z.next_out = room;
        z.avail_out = ROOM;
        int end = Z_OK;
        for (int64_t i = 0; end != Z_STREAM_END;) { /* parts 2i and 2i + 1: the byte and the row */
            if (z.avail_in == 0 && i < 2 * height) {
                z.next_in = i % 2 == 0 ? &none : (uint8_t *)(uintptr_t)(rows + (size_t)(i / 2) * bytes);
                z.avail_in = i % 2 == 0 ? 1 : (unsigned)bytes;
                i++;
            }
            end = deflate(&z, i < 2 * height ? Z_NO_FLUSH : Z_FINISH);
            if (z.avail_out > 0 && end != Z_STREAM_END) continue;
            put_chunk(out, "IDAT", room, ROOM - z.avail_out);
            z.next_out = room;
            z.avail_out = ROOM;
        }
        (void)deflateEnd(&z);
    }
    nn_release(room);
}

void nn_png_write(const char *path, const nn_array *image, nn_error *e) {
    static const uint8_t signature[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    char shape[NN_SHAPE_TEXT];
    if (!nn_given(path, "the path of a file to be written", e) || !nn_given(image, "the image to be written", e))
        return;
    const int64_t *dim = image->shape.dim, most = INT32_MAX / 4;
    bool colour = image->shape.rank == 3;
    if (image->data == NULL || image->type != NN_U8 || !(image->shape.rank == 2 || (colour && dim[2] == 3)) ||
        dim[0] < 1 || dim[1] < 1 || dim[0] > most || dim[1] > most) {
        nn_fail(e, AG_ERR_SHAPE, "%.120s: %s numbers of shape %s, not U8 (height, width) or (height, width, 3)", path,
                image->data != NULL ? nn_type_name(image->type) : "no", nn_shape_words(image->shape, shape));
        return;
    }
    nn_replacement r = nn_replace_begin(path, e);
    if (r.file != NULL) {
        uint8_t header[13] = {[8] = 8 /* bits */, colour ? 2 : 0};
        for (int i = 0; i < 4; i++) {
            header[i] = (uint8_t)(dim[1] >> (24 - 8 * i));
            header[4 + i] = (uint8_t)(dim[0] >> (24 - 8 * i));
        }
        (void)fwrite(signature, 1, sizeof signature, r.file);
        put_chunk(r.file, "IHDR", header, sizeof header);
        put_rows(r.file, image->data, dim[0], (size_t)dim[1] * (colour ? 3 : 1), e);
        put_chunk(r.file, "IEND", NULL, 0);
    }
    nn_replace_end(&r, e);
}

/* ---- grids ---- */

static uint8_t grey_of(const nn_array *a, int64_t i) {
    double x = nn_array_at(a, i), most = nn_type_kind(a->type) == 'f' ? 1 : 255;
    if (nn_type_kind(a->type) == 'b') most = 1;
    return !(x > 0) ? 0 : x >= most ? 255 : (uint8_t)lround(x / most * 255);
}

typedef struct grid {
    const nn_array *images;
    int64_t n, channels, height, width, columns, rows, scale;
} grid;

/* Copies image number i to its place; a gap of one pixel is between images, and around all. */
static void put_image(const grid *g, int64_t i, uint8_t *to, int64_t stride) {
    int64_t top = 1 + i / g->columns * (g->height + 1), left = 1 + i % g->columns * (g->width + 1);
    int64_t s = g->scale, pixels = g->height * g->width;
    for (int64_t y = 0; y < g->height * s; y++)
        for (int64_t x = 0; x < g->width * s; x++)
            for (int64_t c = 0; c < g->channels; c++)
                to[((top * s + y) * stride + left * s + x) * g->channels + c] =
                    grey_of(g->images, (i * g->channels + c) * pixels + y / s * g->width + x / s);
}

nn_array nn_image_grid(const nn_array *images, int columns, int scale, nn_error *e) {
    enum { GAP = 128, MOST = 1 << 14 };
    char shape[NN_SHAPE_TEXT];
    nn_array to = {.type = NN_F32};
    if (!nn_given(images, "grid: the array of images", e)) return to;
    const int64_t *dim = images->shape.dim;
    int rank = images->shape.rank;
    grid g = {images,
              dim[0],
              rank == 4 ? dim[1] : 1,
              dim[rank - 2 > 0 ? rank - 2 : 0],
              dim[rank - 1 > 0 ? rank - 1 : 0],
              columns,
              0,
              scale};
    if (images->data == NULL || rank < 3 || rank > 4 || nn_array_count(images) < 1 ||
        (g.channels != 1 && g.channels != 3)) {
        nn_fail(e, AG_ERR_SHAPE, "grid: images of shape %s, not (n, height, width) or (n, 1 or 3, height, width)",
                nn_shape_words(images->shape, shape));
        return to;
    }
    if (columns == 0) g.columns = (int64_t)ceil(sqrt((double)g.n));
    if (g.columns > g.n) g.columns = g.n;
    if (columns < 0 || scale < 1 || scale > MOST || g.n > MOST || g.height > MOST || g.width > MOST)
        nn_fail(e, AG_ERR_VALUE, "grid: %d columns, scale %d, images of shape %s", columns, scale,
                nn_shape_words(images->shape, shape));
    if (!nn_ok(e)) return to;
    g.rows = (g.n + g.columns - 1) / g.columns;
    int64_t height = (g.rows * (g.height + 1) + 1) * g.scale, width = (g.columns * (g.width + 1) + 1) * g.scale;
    to = nn_array_new(NN_U8, (ag_shape){g.channels == 3 ? 3 : 2, {height, width, 3}}, e);
    if (!nn_ok(e)) return to;
    memset(to.data, GAP, (size_t)nn_array_count(&to));
    for (int64_t i = 0; i < g.n; i++) put_image(&g, i, to.data, width);
    return to;
}
