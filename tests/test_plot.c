/* Axes, curves as SVG, images as PNG: read back. */
#include "comma_locale.h"
#include "data_files.h"

#include <float.h>
#include <math.h>
#include <zlib.h>

#include "nn/plot/plot_impl.h"

/* ---- axes ---- */

static void check_axis(double low, double high, bool is_log) {
    nn_axis a = {.log = is_log};
    nn_axis_see(&a, low);
    nn_axis_see(&a, high);
    nn_axis_finish(&a, 0.04, 6);
    if (!(a.low < a.high && a.low <= low && a.high >= high && isfinite(a.low) && isfinite(a.high)))
        fail_msg("%g to %g became %.17g to %.17g", low, high, a.low, a.high);
    assert_true(nn_axis_place(&a, low) >= 0 && nn_axis_place(&a, high) <= 1 && nn_axis_place(&a, low) <= 0.6);
    assert_in_range(a.count, low < high || is_log ? 1 : 0, NN_MOST_TICKS);
    for (int i = 0; i < a.count; i++) {
        double place = nn_axis_place(&a, a.ticks[i].at);
        assert_true(place >= -1e-9 && place <= 1 + 1e-9);
        if (i == 0) continue;
        assert_true(a.ticks[i].at > a.ticks[i - 1].at);
        assert_string_not_equal(a.ticks[i].text, a.ticks[i - 1].text);
    }
    /* what is written is where it is */
    for (int i = 0; i < a.count; i++)
        assert_true(fabs(strtod(a.ticks[i].text, NULL) - a.ticks[i].at) <= 1e-3 * fmax(fabs(a.low), fabs(a.high)));
}

static void axes(void **unused) {
    (void)unused;
    static const double ends[] = {1e-300, 1e-9, 0.001, 0.09, 0.7, 1, 3, 12.5, 99, 1234, 7e5, 3e6, 1e12, 1e100, 1e300};
    for (size_t i = 0; i < 15; i++)
        for (size_t k = i; k < 15; k++) {
            check_axis(ends[i], ends[k], false);
            check_axis(-ends[k], -ends[i], false);
            check_axis(-ends[i], ends[k], false);
            check_axis(0, ends[k], false);
            check_axis(ends[i], ends[k], true);
        }
    check_axis(-DBL_MAX, DBL_MAX, false);
    check_axis(DBL_MIN, DBL_MAX, true);
    check_axis(0x1p-1074, 0x1p-1073, false);
    check_axis(1e15, 1e15 + 1, false);
    check_axis(0, 0, false);
    nn_axis a = {.low = 0};
    for (int i = 0; i <= 10; i++) nn_axis_see(&a, i);
    nn_axis_finish(&a, 0, 5);
    assert_int_equal(a.count, 6);
    assert_string_equal(a.ticks[5].text, "10");
    a = (nn_axis){.log = true};
    assert_true(!nn_axis_has(&a, 0) && !nn_axis_has(&a, NAN) && nn_axis_has(&a, 1e-9));
    nn_axis_see(&a, 0.05), nn_axis_see(&a, 2);
    nn_axis_finish(&a, 0, 5);
    assert_int_equal(a.count, 6); /* 0.05 0.1 0.2 0.5 1 2, as far as rounding lets the ends be in it */
    assert_string_equal(a.ticks[1].text, "0.1");
}

/* ---- curves ---- */

static char *drawn(const nn_curve *curves, int count, const nn_curves_options *o) {
    nn_error e = {0};
    nn_curves_svg(temporary("c.svg"), curves, count, o, &e);
    nn_content c = nn_content_read(temporary("c.svg"), &e);
    assert_fine(&e);
    assert_int_equal(unlink(temporary("c.svg")), 0);
    assert_int_equal(strlen((char *)c.bytes), c.size);
    return (char *)c.bytes;
}

/* Whether each tag ends, quotes close, and there is nothing that XML lacks. */
static void check_xml(const char *text) {
    char open[16][16];
    int depth = 0;
    for (const char *at = text; *at != '\0'; at++) {
        assert_true((unsigned char)*at >= ' ' || *at == '\n');
        if (*at != '<') {
            assert_true(*at != '>' || depth > 0);
            continue;
        }
        const char *end = at;
        for (bool quoted = false; *end != '>' || quoted; end++) {
            assert_true(*end != '\0');
            if (*end == '"') quoted = !quoted;
        }
        int length = (int)strcspn(at + 1, " >/");
        if (at[1] == '/') {
            length = (int)strcspn(at + 2, ">");
            assert_true(depth > 0 && strncmp(open[--depth], at + 2, (size_t)length) == 0);
        } else if (end[-1] != '/') {
            assert_true(depth < 16 && length < 16);
            (void)snprintf(open[depth++], 16, "%.*s", length, at + 1);
        }
        at = end;
    }
    assert_int_equal(depth, 0);
}

static int count_of(const char *text, const char *what) {
    int count = 0;
    for (; (text = strstr(text, what)) != NULL; text++) count++;
    return count;
}

static void curves(void **unused) {
    (void)unused;
    const double y[] = {2, 1, NAN, 0.5, INFINITY, 0.4, 0.3}, x[] = {1, 2, 3, 4, 5, 6, 7};
    const nn_curve both[] = {{"a<b & \"c\"\x01\xff\xc3\xa9", 7, x, y}, {"train", 2, NULL, y}};
    char *text = drawn(both, 2, &(nn_curves_options){.title = "Losses > 0", .x_label = "epoch", .y_label = "loss"});
    check_xml(text);
    assert_non_null(strstr(text, ">a&lt;b &amp; \"c\" ?\xc3\xa9</text>"));
    assert_int_equal(count_of(text, "Losses &gt; 0"), 2); /* and as a title */
    assert_non_null(strstr(text, "prefers-color-scheme:dark"));
    const char *curve = strstr(strstr(text, ">epoch<"), "class=\"c0\" d=\"");
    assert_int_equal(count_of(curve, "M"), 3 + 1); /* stretches of it, and the other one */
    assert_int_equal(count_of(curve, "h0"), 1);    /* of one point */
    nn_release(text);
    text = drawn(both, 2, &(nn_curves_options){.log_y = true, .width = 100, .height = 100});
    check_xml(text);
    nn_release(text);
    text = drawn(NULL, 0, NULL);
    check_xml(text);
    nn_release(text);
    const double none[] = {-1, 0, NAN};
    text = drawn(&(nn_curve){"n", 3, NULL, none}, 1, &(nn_curves_options){.log_y = true});
    check_xml(text);
    assert_non_null(strstr(text, "class=\"c0\" d=\"\""));
    nn_release(text);
}

/* A point of a curve is where its numbers say. */
static void places(void **unused) {
    (void)unused;
    const double y[] = {0, 10, 5};
    char *text = drawn(&(nn_curve){.count = 3, .y = y}, 1, NULL), *curve = strstr(text, "class=\"c0\" d=\"M");
    double p[3][2], top, bottom;
    assert_int_equal(sscanf(curve, "class=\"c0\" d=\"M%lf %lfL%lf %lfL%lf %lf\"/>", &p[0][0], &p[0][1], &p[1][0],
                            &p[1][1], &p[2][0], &p[2][1]),
                     6);
    assert_true(fabs(p[1][0] - p[0][0] - (p[2][0] - p[1][0])) <= 0.11);
    assert_true(fabs((p[0][1] + p[1][1]) / 2 - p[2][1]) <= 0.11 && p[1][1] < p[0][1]);
    /* the lines of ticks at 0 and at 10 */
    assert_int_equal(sscanf(strstr(text, "<path class=\"g\""), "<path class=\"g\" d=\"M%*f %lf", &bottom), 1);
    assert_true(fabs(bottom - p[0][1]) <= 1);
    const char *last = strstr(text, ">10</text>");
    while (strncmp(last, "<path class=\"g\"", 15) != 0) last--;
    assert_int_equal(sscanf(last, "<path class=\"g\" d=\"M%*f %lf", &top), 1);
    assert_true(fabs(top - p[1][1]) <= 1);
    nn_release(text);
}

static void long_curves(void **unused) {
    (void)unused;
    enum { MANY = 300000 };
    double *y = calloc(MANY, sizeof *y);
    for (int i = 0; i < MANY; i++) y[i] = (double)(i % 1000 * 7919 % 1000) / 1000;
    y[123456] = 50; /* must be seen */
    char *text = drawn(&(nn_curve){.count = MANY, .y = y}, 1, NULL), *other;
    assert_in_range(strlen(text), 10000, 100000);
    check_xml(text);
    y[123456] = 0.5;
    other = drawn(&(nn_curve){.count = MANY, .y = y}, 1, NULL);
    assert_null(strstr(other, ">40</text>"));
    assert_non_null(strstr(text, ">40</text>"));
    nn_release(text), nn_release(other);
    free(y);
}

static void other_locale(void **unused) {
    (void)unused;
    choose_comma_locale();
    const double y[] = {0.1, 0.25, 0.37};
    char *text = drawn(&(nn_curve){.count = 3, .y = y}, 1, NULL);
    (void)setlocale(LC_ALL, "C");
    char *plain = drawn(&(nn_curve){.count = 3, .y = y}, 1, NULL);
    assert_string_equal(text, plain);
    nn_release(text), nn_release(plain);
}

/* ---- images ---- */

static uint64_t big(const uint8_t *at) {
    return (uint64_t)at[0] << 24 | (uint64_t)at[1] << 16 | (uint64_t)at[2] << 8 | at[3];
}

/* Reads a PNG back: chunks with their sums, rows without filters. */
static void check_png(const nn_array *image, int channels) {
    nn_error e = {0};
    nn_png_write(temporary("i.png"), image, &e);
    nn_content c = nn_content_read(temporary("i.png"), &e);
    assert_fine(&e);
    assert_memory_equal(c.bytes, "\x89PNG\r\n\x1a\n", 8);
    size_t row = (size_t)(image->shape.dim[1] * channels) + 1, size = row * (size_t)image->shape.dim[0], all = 0;
    uint8_t *packed = calloc(c.size, 1);
    char last[5] = "";
    for (size_t at = 8; at < c.size;) {
        size_t length = big(c.bytes + at);
        assert_true(at + 12 + length <= c.size);
        assert_int_equal(crc32(0, c.bytes + at + 4, (unsigned)length + 4), big(c.bytes + at + 8 + length));
        memcpy(last, c.bytes + at + 4, 4);
        if (strcmp(last, "IHDR") == 0) {
            assert_int_equal(big(c.bytes + at + 8), image->shape.dim[1]);
            assert_int_equal(big(c.bytes + at + 12), image->shape.dim[0]);
            assert_int_equal(c.bytes[at + 17], channels == 3 ? 2 : 0);
        }
        if (strcmp(last, "IDAT") == 0) {
            memcpy(packed + all, c.bytes + at + 8, length);
            all += length;
        }
        at += 12 + length;
    }
    assert_string_equal(last, "IEND");
    uint8_t *rows = calloc(size, 1);
    uLongf got = size;
    assert_int_equal(uncompress(rows, &got, packed, all), Z_OK);
    assert_int_equal(got, size);
    for (int64_t i = 0; i < image->shape.dim[0]; i++) {
        assert_int_equal(rows[(size_t)i * row], 0);
        assert_memory_equal(rows + (size_t)i * row + 1, (const uint8_t *)image->data + (size_t)i * (row - 1), row - 1);
    }
    free(rows), free(packed);
    nn_content_free(&c);
    assert_int_equal(unlink(temporary("i.png")), 0);
}

static void images(void **unused) {
    (void)unused;
    static const ag_shape shapes[] = {{2, {1, 1}}, {2, {5, 3}}, {3, {4, 6, 3}}, {2, {700, 900}}, {3, {300, 400, 3}}};
    for (int k = 0; k < 5; k++) {
        nn_error e = {0};
        nn_array a = nn_array_new(NN_U8, shapes[k], &e);
        uint32_t random = 1;
        for (int64_t i = 0; i < nn_array_count(&a); i++) {
            random = random * 1664525u + 1013904223u;
            ((uint8_t *)a.data)[i] = (uint8_t)(random >> 24);
        }
        check_png(&a, shapes[k].rank == 3 ? 3 : 1);
        nn_array_free(&a);
    }
}

static void grids(void **unused) {
    (void)unused;
    nn_error e = {0};
    nn_array f = nn_array_new(NN_F32, AG_SHAPE(3, 1, 2, 2), &e);
    const float numbers[] = {0, 1, 0.5f, NAN, -3, 7, 0.2f, 0.4f, 1, 1, 1, 1};
    memcpy(f.data, numbers, sizeof numbers);
    nn_array g = nn_image_grid(&f, 2, 1, &e);
    assert_fine(&e);
    assert_true(g.type == NN_U8 && g.shape.rank == 2 && g.shape.dim[0] == 7 && g.shape.dim[1] == 7);
    const uint8_t right[] = {128, 128, 128, 128, 128, 128, 128, 128, 0,   255, 128, 0,   255, 128, 128, 128, 0,
                             128, 51,  102, 128, 128, 128, 128, 128, 128, 128, 128, 128, 255, 255, 128, 128, 128,
                             128, 128, 255, 255, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128};
    assert_memory_equal(g.data, right, sizeof right);
    nn_array_free(&g);
    g = nn_image_grid(&f, 0, 3, &e);
    assert_true(g.shape.dim[0] == 21 && g.shape.dim[1] == 21);
    for (int i = 0; i < 21 * 21; i++) assert_int_equal(((uint8_t *)g.data)[i], right[i / 21 / 3 * 7 + i % 21 / 3]);
    nn_array_free(&g), nn_array_free(&f);
    nn_array c = nn_array_new(NN_I32, AG_SHAPE(1, 3, 1, 2), &e);
    const int32_t whole[] = {1, 2, 300, -4, 5, 6};
    memcpy(c.data, whole, sizeof whole);
    g = nn_image_grid(&c, 9, 1, &e);
    assert_fine(&e);
    assert_true(g.shape.rank == 3 && g.shape.dim[0] == 3 && g.shape.dim[1] == 4 && g.shape.dim[2] == 3);
    const uint8_t pixels[] = {1, 255, 5, 2, 0, 6};
    assert_memory_equal((uint8_t *)g.data + 15, pixels, 6);
    nn_array_free(&g), nn_array_free(&c);
}

/* ---- errors ---- */

static void wrong_use(void **unused) {
    (void)unused;
    nn_error e = {0};
    const double y[] = {1};
    const nn_curve bad = {.count = 2}, good = {.count = 1, .y = y};
    nn_curves_svg(temporary("c"), &bad, 1, NULL, &e);
    assert_error(&e, AG_ERR_VALUE, "number 0 has 2 points, or no numbers");
    nn_curves_svg(temporary("c"), NULL, 1, NULL, &e);
    assert_error(&e, AG_ERR_VALUE, "the array of curves is NULL");
    nn_curves_svg(temporary("c"), &good, 1, &(nn_curves_options){.width = 50}, &e);
    assert_error(&e, AG_ERR_VALUE, "50 x 400 pixels");
    nn_curves_svg(temporary("none/c"), &good, 1, NULL, &e);
    assert_error(&e, AG_ERR_FILE, "cannot be written");
    nn_array f = nn_array_new(NN_F32, AG_SHAPE(2, 2), &e), u = nn_array_new(NN_U8, AG_SHAPE(2, 2, 4), &e), none = {0};
    nn_png_write(temporary("c"), &f, &e);
    assert_error(&e, AG_ERR_SHAPE, "F32 numbers of shape (2, 2), not U8");
    nn_png_write(temporary("c"), &u, &e);
    assert_error(&e, AG_ERR_SHAPE, "U8 numbers of shape (2, 2, 4), not");
    nn_png_write(temporary("c"), &none, &e);
    assert_error(&e, AG_ERR_SHAPE, "no numbers of shape ()");
    (void)nn_image_grid(&f, 1, 1, &e);
    assert_error(&e, AG_ERR_SHAPE, "images of shape (2, 2), not (n, height, width)");
    (void)nn_image_grid(&none, 1, 1, &e);
    assert_error(&e, AG_ERR_SHAPE, "images of shape ()");
    (void)nn_image_grid(&u, 1, 0, &e);
    assert_error(&e, AG_ERR_VALUE, "1 columns, scale 0");
    (void)nn_image_grid(&u, -1, 1, &e);
    assert_error(&e, AG_ERR_VALUE, "-1 columns");
    nn_array_free(&f), nn_array_free(&u);
}

static void draw_and_write(nn_error *e) {
    const double y[] = {1, 2};
    nn_curves_svg(temporary("c"), &(nn_curve){"a", 2, NULL, y}, 1, NULL, e);
    nn_array u = nn_array_new(NN_U8, AG_SHAPE(2, 5, 7), e), g = nn_image_grid(&u, 0, 1, e);
    nn_png_write(temporary("c"), &g, e);
    nn_array_free(&u), nn_array_free(&g);
    (void)unlink(temporary("c"));
}

static void refused_memory(void **unused) {
    (void)unused;
    refuse_each_allocation(draw_and_write);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(axes),        cmocka_unit_test(curves),       cmocka_unit_test(places),
        cmocka_unit_test(long_curves), cmocka_unit_test(other_locale), cmocka_unit_test(images),
        cmocka_unit_test(grids),       cmocka_unit_test(wrong_use),    cmocka_unit_test(refused_memory)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
