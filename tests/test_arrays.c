/* Arrays, and their files: .npy, .npz, IDX, gzip. */
#include "data_files.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <zlib.h>

/* ---- arrays ---- */

static void shapes(void **unused) {
    (void)unused;
    nn_error e = {0};
    nn_array a = nn_array_new(NN_I16, AG_SHAPE(2, 3), &e), empty = nn_array_new(NN_F64, AG_SHAPE(0, 5), &e);
    nn_array scalar = nn_array_new(NN_U8, (ag_shape){.rank = 0}, &e);
    assert_fine(&e);
    assert_int_equal(nn_array_count(&a), 6);
    assert_int_equal(nn_array_count(&empty), 0);
    assert_int_equal(nn_array_count(&scalar), 1);
    for (int i = 0; i < 6; i++) assert_true(nn_array_at(&a, i) == 0);
    for (int i = 0; i < 2; i++) nn_array_free(&a), nn_array_free(&empty), nn_array_free(&scalar);
    nn_array_free(NULL);

    (void)nn_array_new(NN_F32, AG_SHAPE(2, -1), &e);
    assert_error(&e, AG_ERR_SHAPE, "array: no shape (2, -1)");
    (void)nn_array_new(NN_F32, AG_SHAPE(INT64_MAX / 2, 0, 3), &e);
    assert_error(&e, AG_ERR_SHAPE, "no shape");
    (void)nn_array_new((nn_type)99, AG_SHAPE(2), &e);
    assert_error(&e, AG_ERR_VALUE, "no type 99");
    (void)nn_array_new(NN_F32, (ag_shape){.rank = 9}, &e);
    assert_error(&e, AG_ERR_SHAPE, "array: 9 dimensions, not 0 to 8");

    nn_fail(&e, AG_ERR_VALUE, "first %d", 1); /* errors stick */
    nn_fail(&e, AG_ERR_FILE, "second");
    assert_null(nn_array_new(NN_F32, AG_SHAPE(2), &e).data);
    assert_error(&e, AG_ERR_VALUE, "first 1");
    assert_null(nn_type_name((nn_type)99));
    assert_int_equal(nn_type_size((nn_type)99), 0);
}

/* Converts one number; false if it does not fit. */
static bool converts(nn_type from, const void *x, nn_type to, void *y) {
    nn_error e = {0};
    nn_array a = {from, {.rank = 0}, (void *)(uintptr_t)x}, b = nn_array_convert(&a, to, &e);
    bool fine = e.status == AG_OK;
    if (fine) memcpy(y, b.data, nn_type_size(to));
    else assert_error(&e, AG_ERR_VALUE, "element 0 is");
    nn_array_free(&b);
    return fine;
}

/* Whether a double fits a type exactly, and comes back. */
static bool fits(double x, nn_type type) {
    nn_error e = {0};
    nn_array a = {NN_F64, {.rank = 0}, &x}, b = nn_array_convert(&a, type, &e);
    bool fine = e.status == AG_OK;
    if (fine) assert_true(nn_array_at(&b, 0) == x);
    nn_array_free(&b);
    return fine;
}

static void integers(void **unused) {
    (void)unused;
    assert_true(fits(-128, NN_I8) && fits(127, NN_I8) && !fits(128, NN_I8) && !fits(-129, NN_I8));
    assert_true(fits(255, NN_U8) && !fits(256, NN_U8) && !fits(-1, NN_U8) && !fits(0.5, NN_U8));
    assert_true(fits(-32768, NN_I16) && !fits(32768, NN_I16) && fits(65535, NN_U16) && !fits(65536, NN_U16));
    assert_true(fits(-0x1p31, NN_I32) && !fits(0x1p31, NN_I32) && fits(0x1p31, NN_U32) && !fits(0x1p32, NN_U32));
    assert_true(fits(-0x1p63, NN_I64) && !fits(0x1p63, NN_I64) && fits(0x1p63, NN_U64) && !fits(0x1p64, NN_U64));
    assert_true(fits(0, NN_BOOL) && fits(1, NN_BOOL) && !fits(2, NN_BOOL) && !fits(-1, NN_BOOL));
    assert_true(!fits(NAN, NN_I64) && !fits(INFINITY, NN_U64) && !fits(-INFINITY, NN_I8) && !fits(NAN, NN_BOOL));

    assert_true(fits(0x1.fffffep127, NN_F32) && !fits(1e300, NN_F32) && !fits(-0x1.ffffffp127, NN_F32));
    assert_true(fits(INFINITY, NN_F32) && fits(-INFINITY, NN_F16) && !fits(70000, NN_F16));

    nn_error e = {0};
    int64_t most = INT64_MAX, least = INT64_MIN, back = 0;
    uint64_t all = UINT64_MAX, bits = 0;
    nn_array a = {NN_I64, {.rank = 0}, &most}, b = nn_array_convert(&a, NN_U64, &e); /* not by way of doubles */
    memcpy(&bits, b.data, 8);
    assert_true(bits == (uint64_t)INT64_MAX);
    nn_array c = nn_array_convert(&b, NN_I64, &e);
    memcpy(&back, c.data, 8);
    assert_true(back == INT64_MAX);
    assert_fine(&e);
    nn_array_free(&b), nn_array_free(&c);
    a.data = &least;
    (void)nn_array_convert(&a, NN_U64, &e);
    assert_error(&e, AG_ERR_VALUE, "convert: element 0 is -9223372036854775808, which U64 cannot hold");
    a = (nn_array){NN_U64, {.rank = 0}, &all};
    (void)nn_array_convert(&a, NN_I64, &e);
    assert_error(&e, AG_ERR_VALUE, "18446744073709551615, which I64");
    (void)nn_array_convert(&(nn_array){0}, NN_I64, &e);
    assert_error(&e, AG_ERR_VALUE, "there is no array");
}

static uint16_t half_of(double x, nn_type type) {
    uint16_t bits = 0;
    assert_true(converts(NN_F64, &x, type, &bits));
    return bits;
}

/* A finite number that would become infinite does not fit. */
static void check_half(double x, nn_type type, uint16_t infinity, uint16_t want) {
    uint16_t bits;
    if (isfinite(x) && want == infinity) assert_false(converts(NN_F64, &x, type, &bits));
    else assert_int_equal(half_of(x, type), want);
}

/* Values from the tables of IEEE 754 binary16, and bfloat16 as the upper half of a float. */
static void half_precision(void **unused) {
    (void)unused;
    static const struct {
        double x;
        uint16_t f16, bf16;
    } known[] = {{0, 0, 0},
                 {-0.0, 0x8000, 0x8000},
                 {1, 0x3c00, 0x3f80},
                 {-2, 0xc000, 0xc000},
                 {65504, 0x7bff, 0x4780},
                 {65519.99, 0x7bff, 0x4780},
                 {65520, 0x7c00, 0x4780},
                 {98304, 0x7c00, 0x47c0},
                 {1e300, 0x7c00, 0x7f80},
                 {-INFINITY, 0xfc00, 0xff80},
                 {0x1p-14, 0x0400, 0x3880},
                 {0x1p-24, 0x0001, 0x3380},
                 {0x1p-25, 0x0000, 0x3300},
                 {0x1.8p-24, 0x0002, 0x33c0},
                 {1 + 0x1p-11, 0x3c00, 0x3f80},
                 {1 + 3 * 0x1p-11, 0x3c02, 0x3f80},
                 {1 + 0x1p-8, 0x3c04, 0x3f80},
                 {1 + 3 * 0x1p-8, 0x3c0c, 0x3f82},
                 {0x1p-133, 0, 0x0001},
                 {0x1.ffp127, 0x7c00, 0x7f80}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        check_half(known[i].x, NN_F16, 0x7c00, known[i].f16);
        check_half(known[i].x, NN_BF16, 0x7f80, known[i].bf16);
    }
    for (uint32_t bits = 0; bits < 0x10000; bits++) /* there and back */
        for (int k = 0; k < 2; k++) {
            uint16_t half = (uint16_t)bits;
            nn_type type = k ? NN_BF16 : NN_F16;
            double x;
            assert_true(converts(type, &half, NN_F64, &x));
            if (isnan(x)) assert_true((half_of(x, type) & 0x7fff) > (k ? 0x7f80 : 0x7c00));
            else assert_int_equal(half_of(x, type), half);
            if (k && !isnan(x)) {
                uint32_t wide = bits << 16;
                float f;
                memcpy(&f, &wide, 4);
                assert_true((double)f == x);
            }
        }
}

/* ---- files that NumPy made ---- */

/* -2, -1, 0, 1, 2, 3, or 0 to 5, or 0, 1, 0, 1, ... as (3, 2): see arrays/make.py. */
static void check_numbers(const char *name, const nn_array *a) {
    char kind = nn_type_kind(a->type);
    if (a->shape.rank != 2 || a->shape.dim[0] != 3 || a->shape.dim[1] != 2) fail_msg("%s: another shape", name);
    for (int i = 0; i < 6; i++) {
        double want = kind == 'b' ? i % 2 : kind == 'u' ? i : i - 2;
        if (nn_array_at(a, i) != want) fail_msg("%s: element %d is %g, not %g", name, i, nn_array_at(a, i), want);
    }
}

static void numpy_archives(void **unused) {
    (void)unused;
    static const char *const names[] = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"};
    static const nn_type types[] = {NN_F16, NN_F32, NN_F64, NN_I8,  NN_I16, NN_I32,
                                    NN_I64, NN_U8,  NN_U16, NN_U32, NN_U64, NN_BOOL};
    nn_error e = {0};
    nn_arrays all = nn_npz_read(saved_file("arrays/deflated.npz"), &e),
              some = nn_npz_read(saved_file("arrays/stored.npz"), &e);
    assert_fine(&e);
    assert_int_equal(all.count, 48);
    assert_int_equal(some.count, 6);
    for (int i = 0; i < 12; i++)
        for (int k = 0; k < 4; k++) {
            char name[32];
            (void)snprintf(name, sizeof name, "%s_%s_%c", names[i], k & 1 ? "big" : "little", k & 2 ? 'F' : 'C');
            const nn_array *a = nn_arrays_find(&all, name), *b = nn_arrays_find(&some, name);
            assert_non_null(a);
            assert_int_equal(a->type, types[i]);
            check_numbers(name, a);
            if (b != NULL) check_numbers(name, b);
        }
    assert_null(nn_arrays_find(&all, "f2"));
    nn_arrays_free(&all);
    nn_arrays_free(&some);
    nn_arrays_free(&some);
}

static void numpy_arrays(void **unused) {
    (void)unused;
    nn_error e = {0};
    for (int version = 1; version <= 3; version++) {
        char name[32];
        (void)snprintf(name, sizeof name, "arrays/version%d.npy", version);
        nn_array a = nn_npy_read(saved_file(name), &e);
        assert_fine(&e);
        check_numbers(name, &a);
        nn_array_free(&a);
    }
    nn_array a = nn_npy_read(saved_file("arrays/fortran.npy"), &e);
    assert_true(a.shape.rank == 3 && a.shape.dim[0] == 2 && a.shape.dim[1] == 3 && a.shape.dim[2] == 4);
    for (int i = 0; i < 24; i++) assert_true(nn_array_at(&a, i) == i);
    nn_array_free(&a);
    a = nn_npy_read(saved_file("arrays/scalar.npy"), &e);
    assert_true(a.shape.rank == 0 && a.type == NN_F32 && nn_array_at(&a, 0) == 2.5);
    nn_array_free(&a);
    a = nn_npy_read(saved_file("arrays/empty.npy"), &e);
    assert_true(a.shape.rank == 2 && nn_array_count(&a) == 0 && a.data != NULL);
    nn_array_free(&a);
    assert_fine(&e);
    (void)nn_npy_read(saved_file("arrays/complex.npy"), &e);
    assert_error(&e, AG_ERR_VALUE, "numbers of type \"<c16\" are not supported");
}

/* What is written is read, and begins at a multiple of 64. */
static void npy_there_and_back(void **unused) {
    (void)unused;
    for (int type = NN_F32; type <= NN_BOOL; type++)
        for (int rank = 0; rank <= AG_MAX_RANK; rank++) {
            nn_error e = {0};
            ag_shape shape = {rank, {1, 2, 1, 3, 1, 1, 2, 1}};
            nn_array a = nn_array_new((nn_type)type, shape, &e);
            memset(a.data, 1, (size_t)nn_array_count(&a) * nn_type_size(a.type));
            nn_npy_write(temporary("a.npy"), &a, &e);
            if (type == NN_BF16) {
                assert_error(&e, AG_ERR_VALUE, "BF16");
                nn_array_free(&a);
                continue;
            }
            nn_array b = nn_npy_read(temporary("a.npy"), &e);
            assert_fine(&e);
            assert_true(b.type == a.type && b.shape.rank == rank &&
                        memcmp(b.shape.dim, shape.dim, (size_t)rank * 8) == 0);
            assert_memory_equal(a.data, b.data, (size_t)nn_array_count(&a) * nn_type_size(a.type));
            struct stat status;
            assert_int_equal(stat(temporary("a.npy"), &status), 0);
            assert_int_equal(((size_t)status.st_size - (size_t)nn_array_count(&a) * nn_type_size(a.type)) % 64, 0);
            nn_array_free(&a);
            nn_array_free(&b);
        }
    assert_int_equal(unlink(temporary("a.npy")), 0);
}

/* A link stays a link, and a pipe (as a terminal, a device) is written to: no file takes its place. */
static void links_and_pipes(void **unused) {
    (void)unused;
    char path[4096], link[4096], contents[512];
    struct stat status;
    nn_error e = {0};
    nn_array a = nn_array_new(NN_U8, AG_SHAPE(3), &e);
    (void)snprintf(path, sizeof path, "%s", temporary("a.npy"));
    (void)snprintf(link, sizeof link, "%s", temporary("link"));
    assert_int_equal(symlink(path, link), 0);
    for (int there = 0; there < 2; there++) {
        nn_npy_write(there ? link : path, &a, &e);
        assert_fine(&e);
        assert_true(lstat(link, &status) == 0 && S_ISLNK(status.st_mode));
        assert_true(lstat(path, &status) == 0 && S_ISREG(status.st_mode) && status.st_size == 131);
        if (!there) write_bytes(path, "old", 3);
    }
    assert_true(unlink(link) == 0 && unlink(path) == 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    int pipe = open(path, O_RDWR);
    nn_npy_write(path, &a, &e);
    assert_fine(&e);
    assert_true(lstat(path, &status) == 0 && S_ISFIFO(status.st_mode));
    assert_int_equal(fcntl(pipe, F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(read(pipe, contents, sizeof contents), 131);
    assert_memory_equal(contents, "\x93NUMPY", 6);
    assert_int_equal(close(pipe), 0);
    assert_int_equal(unlink(path), 0);
    nn_npy_write(temporary_folder, &a, &e);
    assert_error(&e, AG_ERR_FILE, "cannot be replaced: Is a directory");
    nn_array_free(&a);
}

static void expect_npy(const char *header, size_t data, const char *text) {
    uint8_t bytes[512] = "\x93NUMPY\x01\x00";
    size_t length = strlen(header);
    nn_error e = {0};
    bytes[8] = (uint8_t)length;
    memcpy(bytes + 10, header, length);
    nn_array a = nn_npy_parse("f", bytes, 10 + length + data, &e);
    if (text == NULL) assert_fine(&e);
    else assert_error(&e, AG_ERR_VALUE, text);
    nn_array_free(&a);
}

static void damaged_npy(void **unused) {
    (void)unused;
    expect_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 8, NULL);
    expect_npy("{\"shape\":(2L,3),\"descr\":'|u1','fortran_order':True}", 6, NULL);
    expect_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 7,
               "shape (2), 4 bytes a number, does not have 7");
    expect_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 9, "does not have 9 bytes");
    expect_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2), }", 8, "one dimension needs a comma");
    expect_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", 8, "byte 61: there should be a dimension");
    expect_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}", 4, "more than 8 dimensions");
    expect_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", 4,
               "dimension is too large");
    expect_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904,4)}", 0,
               "does not have 0 bytes");
    expect_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904,0,4)}", 0,
               "does not have 0 bytes");
    expect_npy("{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}", 8, "True or False");
    expect_npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}", 8, "structures are not supported");
    expect_npy("{'descr': '<f3', 'fortran_order': False, 'shape': (2,)}", 8, "type \"<f3\" are not supported");
    expect_npy("{'descr': '|O', 'fortran_order': False, 'shape': (2,)}", 8, "type \"|O\"");
    expect_npy("{'descr': '<f4', 'shape': (2,)}", 8, "descr, fortran_order or shape is missing");
    expect_npy("{'descr': '<f4', 'descr': '<f4', 'shape': (2,)}", 8, "for the second time");
    expect_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1}", 8, "unknown key");
    expect_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x", 8, "something follows");
    expect_npy("{'descr': '<f4, 'fortran_order': False}", 8, "type \"<f4, \" are not supported");
    expect_npy("{'descr': '<f4' 'fortran_order': False}", 8, "there should be a '}'");
    expect_npy("{'descr", 0, "a text does not end");
    expect_npy("", 0, "there should be a '{'");
    nn_error e = {0};
    (void)nn_npy_parse("f", (const uint8_t *)"\x93NUMPY\x04\x00\x00\x00", 10, &e);
    assert_error(&e, AG_ERR_VALUE, "version 4.0");
    (void)nn_npy_parse("f", (const uint8_t *)"\x93NUMPY\x01\x00\x01\x00", 10, &e);
    assert_error(&e, AG_ERR_VALUE, "a header of 1 bytes in a file of 10");
    (void)nn_npy_parse("f", (const uint8_t *)"\x93NUMPY\x02\x00\x01\x00\x00\x00", 12, &e);
    assert_error(&e, AG_ERR_VALUE, "a header of 1 bytes");
    (void)nn_npy_parse("f", NULL, 0, &e);
    assert_error(&e, AG_ERR_VALUE, "not a .npy file");
}

/* Every byte of an archive changed, every length cut: an error or an archive, and nothing else. */
static void damaged_npz(void **unused) {
    (void)unused;
    nn_error e = {0};
    nn_content c = nn_content_read(saved_file("arrays/stored.npz"), &e);
    assert_fine(&e);
    int wrong = 0;
    for (size_t i = 0; i < c.size; i++) {
        nn_error each = {0};
        c.bytes[i] ^= 0x41;
        nn_arrays a = nn_npz_parse("f", c.bytes, c.size, &each);
        wrong += each.status != AG_OK;
        nn_arrays_free(&a);
        c.bytes[i] ^= 0x41;
    }
    assert_true(wrong > (int)c.size / 2); /* what the directory says twice, dates and the like do not count */
    uint8_t *array = memmem(c.bytes, c.size, "\x93NUMPY", 6);
    assert_non_null(array);
    array[128] ^= 1; /* a number, behind the header */
    (void)nn_npz_parse("f", c.bytes, c.size, &e);
    assert_error(&e, AG_ERR_VALUE, "f: f2_little_C.npy: the checksum is wrong");
    array[128] ^= 1;
    for (size_t size = 0; size < c.size; size++) {
        nn_arrays a = nn_npz_parse("f", c.bytes, size, &e);
        assert_int_equal(a.count, 0);
        assert_error(&e, AG_ERR_VALUE, "f: ");
    }
    nn_content_free(&c);
}

static uint8_t *put(uint8_t *at, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) *at++ = (uint8_t)(value >> 8 * i);
    return at;
}

/* An archive whose directory has the only array `count` times, with names "a", "b", ...: so files of any size expand to any
 * other. */
static void entries_that_overlap(void **unused) {
    (void)unused;
    for (int count = 1; count <= 10; count += 9) {
        static uint8_t bytes[4096] = {0};
        static const char header[] = "\x93NUMPY\x01\0\x40\0{'descr': '|u1', 'fortran_order': False, 'shape': (1000,)}";
        uint8_t *at = put(bytes, 0x04034b50, 4) + 26, *data = at; /* the entry's own header is not looked at */
        memcpy(data, header, sizeof header - 1);
        memset(data + sizeof header - 1, ' ', 74 - sizeof header + 1);
        at += 74 + 1000;
        uint8_t *directory = at;
        for (int i = 0; i < count; i++) {
            uint8_t *entry = at;
            (void)put(entry, 0x02014b50, 4);
            (void)put(entry + 16, crc32(0, data, 1074), 4);
            (void)put(put(entry + 20, 1074, 4), 1074, 4);
            (void)put(entry + 28, 1, 2);
            entry[46] = (uint8_t)('a' + i);
            at += 47;
        }
        (void)put(at, 0x06054b50, 4);
        (void)put(at + 10, (uint64_t)count, 2);
        (void)put(put(at + 12, (uint64_t)(at - directory), 4), (uint64_t)(directory - bytes), 4);
        nn_error e = {0};
        nn_arrays a = nn_npz_parse("f", bytes, (size_t)(at + 22 - bytes), &e);
        if (count > 1) assert_error(&e, AG_ERR_VALUE, "f: byte 0: entries overlap, or go beyond the file");
        else assert_fine(&e);
        assert_int_equal(a.count, count > 1 ? 0 : 1);
        nn_arrays_free(&a);
    }
}

/* An archive of an array "d/a.npy" and, before and after it, entries of folders; the last one is no folder if it has bytes. */
static void folders_in_an_archive(void **unused) {
    (void)unused;
    static const char npy[] = "\x93NUMPY\x01\0\x30\0{'descr':'|u1','fortran_order':False,'shape':()}\x07";
    static const char *const names[] = {"d/", "d/a.npy", "e/"};
    for (int broken = 0; broken < 2; broken++) {
        static uint8_t bytes[1024];
        uint8_t *at = bytes, *local[3];
        size_t sizes[] = {0, sizeof npy - 1, broken ? 4 : 0};
        memset(bytes, 0, sizeof bytes);
        for (int i = 0; i < 3; i++) {
            local[i] = at;
            (void)put(at, 0x04034b50, 4);
            if (i == 1) memcpy(at + 30, npy, sizes[i]);
            at += 30 + sizes[i];
        }
        uint8_t *directory = at;
        for (int i = 0; i < 3; i++) {
            size_t length = strlen(names[i]);
            (void)put(at, 0x02014b50, 4);
            (void)put(at + 16, crc32(0, local[i] + 30, (uInt)sizes[i]), 4);
            (void)put(put(at + 20, sizes[i], 4), sizes[i], 4);
            (void)put(at + 28, length, 2);
            (void)put(at + 42, (uint64_t)(local[i] - bytes), 4);
            memcpy(at + 46, names[i], length);
            at += 46 + length;
        }
        (void)put(at, 0x06054b50, 4);
        (void)put(at + 10, 3, 2);
        (void)put(put(at + 12, (uint64_t)(at - directory), 4), (uint64_t)(directory - bytes), 4);
        nn_error e = {0};
        nn_arrays a = nn_npz_parse("f", bytes, (size_t)(at + 22 - bytes), &e);
        if (broken) {
            assert_error(&e, AG_ERR_VALUE, "f: e/: ");
        } else {
            assert_fine(&e);
            assert_int_equal(a.count, 1);
            assert_true(nn_array_at(nn_arrays_find(&a, "d/a"), 0) == 7);
        }
        nn_arrays_free(&a);
    }
}

/* As many arrays as there may be, one name twice or all different, are refused or read at once: in about 0.1 s, not in 10. */
static void many_entries(void **unused) {
    (void)unused;
    static const char npy[] = "\x93NUMPY\x01\0\x30\0{'descr':'|u1','fortran_order':False,'shape':()}"; /* and a 0 */
    enum { MANY = 65535, LOCAL = 30 + sizeof npy, DIRECTORY = 46 + 5 };
    uint8_t *bytes = calloc(MANY + 1, LOCAL + DIRECTORY);
    assert_non_null(bytes);
    for (int twice = 0; twice < 2; twice++) {
        uint8_t *at = bytes, *entry = bytes + MANY * LOCAL;
        for (int i = 0; i < MANY; i++, at += LOCAL, entry += DIRECTORY) {
            (void)put(at, 0x04034b50, 4);
            memcpy(at + 30, npy, sizeof npy);
            (void)put(entry, 0x02014b50, 4);
            (void)put(entry + 16, crc32(0, at + 30, sizeof npy), 4);
            (void)put(put(entry + 20, sizeof npy, 4), sizeof npy, 4);
            (void)put(entry + 28, 5, 2);
            (void)put(entry + 42, (uint64_t)(at - bytes), 4);
            (void)snprintf((char *)entry + 46, 6, "%05u", (twice && i == MANY - 1 ? 40000u : (unsigned)i) % 100000);
        }
        (void)put(entry, 0x06054b50, 4);
        (void)put(entry + 10, MANY, 2);
        (void)put(put(entry + 12, MANY * DIRECTORY, 4), MANY * LOCAL, 4);
        nn_error e = {0};
        clock_t start = clock();
        nn_arrays a = nn_npz_parse("f", bytes, (size_t)(entry + 22 - bytes), &e);
        if (twice) assert_error(&e, AG_ERR_VALUE, "f: two arrays with the name \"40000\"");
        else assert_fine(&e);
        assert_int_equal(a.count, twice ? 0 : MANY);
        assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 2);
        nn_arrays_free(&a);
    }
    free(bytes);
}

/* ---- IDX ---- */

static void idx(void **unused) {
    (void)unused;
    static const struct {
        uint8_t code;
        nn_type type;
        uint8_t bytes[16];
        size_t size;
        double x, y;
    } cases[] = {
        {0x08, NN_U8, {255, 1}, 2, 255, 1},
        {0x09, NN_I8, {255, 1}, 2, -1, 1},
        {0x0b, NN_I16, {255, 254, 1, 0}, 4, -2, 256},
        {0x0c, NN_I32, {255, 255, 255, 254, 0, 1, 0, 0}, 8, -2, 65536},
        {0x0d, NN_F32, {0x3f, 0x80, 0, 0, 0xc0, 0, 0, 0}, 8, 1, -2},
        {0x0e, NN_F64, {0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0}, 16, 1, -2},
    };
    nn_error e = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t file[64] = {0, 0, cases[i].code, 2, 0, 0, 0, 1, 0, 0, 0, 2};
        memcpy(file + 12, cases[i].bytes, cases[i].size);
        nn_array a = nn_idx_parse("f", file, 12 + cases[i].size, &e);
        assert_fine(&e);
        assert_true(a.type == cases[i].type && a.shape.rank == 2 && a.shape.dim[0] == 1 && a.shape.dim[1] == 2);
        assert_true(nn_array_at(&a, 0) == cases[i].x && nn_array_at(&a, 1) == cases[i].y);
        nn_array_free(&a);
        (void)nn_idx_parse("f", file, 11 + cases[i].size, &e);
        assert_error(&e, AG_ERR_VALUE, "does not have");
        (void)nn_idx_parse("f", file, 13 + cases[i].size, &e);
        assert_error(&e, AG_ERR_VALUE, "f: an array of shape (1, 2)");
    }
    (void)nn_idx_parse("f", (const uint8_t *)"\0\0\7\1", 4, &e);
    assert_error(&e, AG_ERR_VALUE, "no type 0x07");
    (void)nn_idx_parse("f", (const uint8_t *)"\0\0\x8\x9", 4, &e);
    assert_error(&e, AG_ERR_VALUE, "9 dimensions");
    (void)nn_idx_parse("f", (const uint8_t *)"\0\0\x8\2\0\0\0\1", 8, &e);
    assert_error(&e, AG_ERR_VALUE, "do not hold 2 dimensions");
    (void)nn_idx_parse("f", (const uint8_t *)"PK\x8\2", 4, &e);
    assert_error(&e, AG_ERR_VALUE, "not an IDX file");
    const uint8_t huge[] = {0, 0, 8, 4, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
    (void)nn_idx_parse("f", huge, sizeof huge, &e);
    assert_error(&e, AG_ERR_VALUE, "does not have 0 bytes");
}

static void mnist(void **unused) {
    (void)unused;
    nn_error e = {0};
    const char *path = real_file("mnist/t10k-images-idx3-ubyte.gz");
    if (path == NULL) skip();
    nn_array images = nn_idx_read(path, &e), labels = nn_idx_read(real_file("mnist/t10k-labels-idx1-ubyte.gz"), &e);
    assert_fine(&e);
    assert_true(images.type == NN_U8 && images.shape.rank == 3 && images.shape.dim[0] == 10000 &&
                images.shape.dim[1] == 28);
    assert_true(labels.shape.rank == 1 && labels.shape.dim[0] == 10000);
    int count[10] = {0};
    static const uint8_t first[] = {7, 2, 1, 0, 4, 1, 4, 9, 5, 9};
    assert_memory_equal(labels.data, first, sizeof first);
    for (int i = 0; i < 10000; i++) count[((const uint8_t *)labels.data)[i]]++;
    static const int known[] = {980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009}; /* of its description */
    assert_memory_equal(count, known, sizeof known);
    nn_array_free(&images);
    nn_array_free(&labels);
}

/* ---- gzip ---- */

static nn_content zipped(const char *text, int level, int window_bits) {
    nn_error e = {0};
    nn_content c = {nn_take(65536, 1, "test", &e), 65536};
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, level, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)text;
    z.avail_in = (uInt)strlen(text);
    z.next_out = c.bytes;
    z.avail_out = 65536;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    c.size = z.total_out;
    assert_int_equal(deflateEnd(&z), Z_OK);
    return c;
}

static void gzip(void **unused) {
    (void)unused;
    static char text[20001];
    nn_error e = {0};
    memset(text, 'x', 20000);
    nn_content z = zipped(text, 9, 15 + 16), out = nn_gunzip("f", z.bytes, z.size, &e);
    assert_fine(&e);
    assert_int_equal(out.size, 20000);
    assert_memory_equal(out.bytes, text, 20001);
    nn_content_free(&out);
    memset(z.bytes + z.size, 0, 1000); /* padded to a block of a tape, say */
    out = nn_gunzip("f", z.bytes, z.size + 1000, &e);
    assert_fine(&e);
    assert_int_equal(out.size, 20000);
    nn_content_free(&out);
    for (size_t zeros = 0; zeros < 4; zeros++) {
        memset(z.bytes + z.size, 0, zeros);
        memcpy(z.bytes + z.size + zeros, z.bytes, z.size); /* two streams */
        out = nn_gunzip("f", z.bytes, 2 * z.size + zeros, &e);
        assert_fine(&e);
        assert_int_equal(out.size, 40000);
        nn_content_free(&out);
    }
    z.bytes[z.size] = 0, z.bytes[z.size + 1] = 1;
    (void)nn_gunzip("f", z.bytes, z.size + 2, &e);
    assert_error(&e, AG_ERR_VALUE, "something else follows");
    z.bytes[z.size] = z.bytes[0];
    for (size_t size = 0; size < z.size; size++) {
        (void)nn_gunzip("f", z.bytes, size, &e);
        assert_error(&e, AG_ERR_VALUE, "ends too early");
    }
    (void)nn_gunzip("f", z.bytes, z.size + 1, &e); /* half of the second one's signature */
    assert_error(&e, AG_ERR_VALUE, "something else follows");
    z.bytes[z.size - 6] ^= 1; /* the checksum */
    (void)nn_gunzip("f", z.bytes, z.size, &e);
    assert_error(&e, AG_ERR_VALUE, "damaged: incorrect data check");
    nn_content_free(&z);
}

/* 70 MB of zeros in 70 kB: as much as deflate can. */
static void all_that_may_be_is_expanded(void **unused) {
    (void)unused;
    enum { SIZE = 70 << 20 };
    nn_error e = {0};
    char *zeros = calloc(SIZE, 1);
    nn_content c = {nn_take(SIZE / 128, 1, "test", &e), SIZE / 128};
    z_stream z = {0};
    assert_non_null(zeros);
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)zeros;
    z.avail_in = SIZE;
    z.next_out = c.bytes;
    z.avail_out = SIZE / 128;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    c.size = z.total_out;
    assert_int_equal(deflateEnd(&z), Z_OK);
    assert_true(c.size < SIZE / 1000);
    nn_content out = nn_gunzip("f", c.bytes, c.size, &e);
    assert_fine(&e);
    assert_int_equal(out.size, SIZE);
    assert_memory_equal(out.bytes, zeros, SIZE);
    nn_content_free(&out);
    nn_content_free(&c);
    free(zeros);
}

static void inflated_to_a_size(void **unused) {
    (void)unused;
    nn_error e = {0};
    nn_content z = zipped("hello hello hello", 9, -15), out = nn_inflate("f", z.bytes, z.size, 17, &e);
    assert_fine(&e);
    assert_string_equal((char *)out.bytes, "hello hello hello");
    nn_content_free(&out);
    (void)nn_inflate("f", z.bytes, z.size, 16, &e);
    assert_error(&e, AG_ERR_VALUE, "longer than the 16 bytes");
    (void)nn_inflate("f", z.bytes, z.size, 18, &e);
    assert_error(&e, AG_ERR_VALUE, "has 17 bytes, not 18");
    (void)nn_inflate("f", z.bytes, z.size, SIZE_MAX / 2, &e);
    assert_error(&e, AG_ERR_VALUE, "cannot come out of");
    (void)nn_inflate("f", z.bytes, z.size - 1, 17, &e);
    assert_error(&e, AG_ERR_VALUE, "ends too early");
    nn_content_free(&z);
}

/* ---- files ---- */

static void missing_files(void **unused) {
    (void)unused;
    nn_error e = {0};
    (void)nn_npy_read("/nowhere/a.npy", &e);
    assert_error(&e, AG_ERR_FILE, "/nowhere/a.npy: cannot be opened: No such file");
    (void)nn_idx_read(temporary_folder, &e);
    assert_error(&e, AG_ERR_FILE, "cannot be read: Is a directory");
    nn_array a = nn_array_new(NN_F32, AG_SHAPE(2), &e);
    nn_npy_write("/nowhere/a.npy", &a, &e);
    assert_error(&e, AG_ERR_FILE, "/nowhere/a.npy: cannot be written: No such file");
    nn_npy_write(temporary_folder, &a, &e);
    assert_error(&e, AG_ERR_FILE, "cannot be replaced");
    nn_array_free(&a);
    nn_npy_write("a.npy", &a, &e);
    assert_error(&e, AG_ERR_VALUE, "no array to write");
}

/* A limit on the size of files stands for a full disk. The old file stays, and nothing else is left. */
static void full_disk(void **unused) {
    (void)unused;
    nn_error e = {0};
    struct rlimit old, small;
    nn_array a = nn_array_new(NN_F64, AG_SHAPE(100), &e), large = nn_array_new(NN_F64, AG_SHAPE(100000), &e);
    ((double *)a.data)[7] = 7;
    nn_npy_write(temporary("a.npy"), &a, &e);
    assert_fine(&e);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 4096;
    void (*before)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    nn_npy_write(temporary("a.npy"), &large, &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    (void)signal(SIGXFSZ, before);
    assert_error(&e, AG_ERR_FILE, "a.npy: cannot be written: File too large");
    nn_array b = nn_npy_read(temporary("a.npy"), &e);
    assert_fine(&e);
    assert_true(nn_array_count(&b) == 100 && nn_array_at(&b, 7) == 7);
    assert_int_equal(unlink(temporary("a.npy")), 0);
    nn_array_free(&a), nn_array_free(&b), nn_array_free(&large);
}

/* Arrays of one's own making whose type or shape is none. */
static void no_arrays(void **unused) {
    (void)unused;
    nn_error e = {0};
    double data[4] = {0};
    const nn_array negative = {NN_F64, {2, {-1, 4}}, data}, ranks = {NN_F64, {9, {0}}, data},
                   unknown = {(nn_type)50, {2, {2, 2}}, data};
    nn_npy_write(temporary("a.npy"), &negative, &e);
    assert_error(&e, AG_ERR_SHAPE, "a.npy: no shape (-1, 4)");
    nn_npy_write(temporary("a.npy"), &ranks, &e);
    assert_error(&e, AG_ERR_SHAPE, "a.npy: 9 dimensions");
    nn_npy_write(temporary("a.npy"), &unknown, &e);
    assert_error(&e, AG_ERR_VALUE, "a.npy: no type 50");
    nn_csv_write(temporary("a.csv"), &(nn_table){.values = negative}, &e);
    assert_error(&e, AG_ERR_SHAPE, "a.csv: no shape (-1, 4)");
    nn_csv_write(temporary("a.csv"), &(nn_table){.values = unknown}, &e);
    assert_error(&e, AG_ERR_VALUE, "a.csv: no type 50");
    (void)nn_array_convert(&negative, NN_F32, &e);
    assert_error(&e, AG_ERR_SHAPE, "no shape (-1, 4)");
    (void)nn_array_convert(&unknown, NN_F32, &e);
    assert_error(&e, AG_ERR_VALUE, "convert: no type 50");
}

/* ---- memory ---- */

static void read_all(nn_error *e) {
    nn_arrays a = nn_npz_read(saved_file("arrays/deflated.npz"), e);
    nn_array b = nn_npy_read(saved_file("arrays/fortran.npy"), e), c = nn_array_convert(&b, NN_F32, e);
    nn_npy_write(temporary("m.npy"), &c, e);
    nn_arrays_free(&a);
    nn_array_free(&b);
    nn_array_free(&c);
}

static void no_memory(void **unused) {
    (void)unused;
    refuse_each_allocation(read_all);
    assert_int_equal(unlink(temporary("m.npy")), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes),
        cmocka_unit_test(integers),
        cmocka_unit_test(half_precision),
        cmocka_unit_test(numpy_arrays),
        cmocka_unit_test(numpy_archives),
        cmocka_unit_test(npy_there_and_back),
        cmocka_unit_test(links_and_pipes),
        cmocka_unit_test(damaged_npy),
        cmocka_unit_test(damaged_npz),
        cmocka_unit_test(folders_in_an_archive),
        cmocka_unit_test(entries_that_overlap),
        cmocka_unit_test(many_entries),
        cmocka_unit_test(idx),
        cmocka_unit_test(mnist),
        cmocka_unit_test(gzip),
        cmocka_unit_test(all_that_may_be_is_expanded),
        cmocka_unit_test(inflated_to_a_size),
        cmocka_unit_test(missing_files),
        cmocka_unit_test(full_disk),
        cmocka_unit_test(no_arrays),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
