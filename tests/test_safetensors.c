/* safetensors: what is written is read; what is damaged is an error; the old file survives whatever goes wrong. */
#include "data_files.h"

#include <signal.h>
#include <sys/resource.h>
#include <dirent.h>

/* A file in memory: the header's length, the header, `data` bytes counting up. Exactly as long as it says. */
static void parse(const char *header, size_t data, nn_safetensors *f, nn_error *e) {
    size_t length = strlen(header), size = 8 + length + data;
    uint8_t *bytes = calloc(size, 1);
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(length >> 8 * i);
    memcpy(bytes + 8, header, length);
    for (size_t i = 0; i < data; i++) bytes[8 + length + i] = (uint8_t)i;
    *f = (nn_safetensors){0};
    nn_safetensors_parse("f", bytes, size, f, e);
    for (int64_t i = 0; e->status == AG_OK && i < f->count; i++) {
        nn_array a = nn_safetensors_read(f, f->tensors[i].name, e);
        assert_int_equal(nn_array_count(&a), nn_elements(f->tensors[i].shape, 1));
        nn_array_free(&a);
    }
    free(bytes);
}

static void good_headers(void **unused) {
    (void)unused;
    nn_error e = {0};
    nn_safetensors f;
    parse("{}", 0, &f, &e);
    assert_fine(&e);
    assert_true(f.count == 0 && nn_safetensors_find(&f, "w") == NULL && nn_safetensors_metadata(&f, "k") == NULL);
    nn_safetensors_close(&f);
    parse("{\"w\" : {\"shape\":[ 2 , 3 ],\n\"data_offsets\":[2,14],\"dtype\":\"F16\"},"
          "\"\\u00e9\\ud834\\udd1e\\/\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
          "\"z\":{\"dtype\":\"F64\",\"shape\":[0,7],\"data_offsets\":[2,2]},"
          "\"__metadata__\":{\"b\":\"\\n\",\"a\":\"\"}}   ",
          14, &f, &e);
    assert_fine(&e);
    assert_int_equal(f.count, 3);
    assert_string_equal(f.tensors[0].name, "\xc3\xa9\xf0\x9d\x84\x9e/"); /* in the order of the data */
    assert_string_equal(f.tensors[1].name, "z");
    const nn_tensor *w = nn_safetensors_find(&f, "w");
    assert_ptr_equal(w, &f.tensors[2]);
    assert_true(w->type == NN_F16 && w->shape.rank == 2 && w->shape.dim[0] == 2 && w->shape.dim[1] == 3);
    assert_string_equal(nn_safetensors_metadata(&f, "a"), "");
    assert_string_equal(nn_safetensors_metadata(&f, "b"), "\n");
    assert_null(nn_safetensors_metadata(&f, "c"));
    nn_safetensors_close(&f);
    nn_safetensors_close(&f);
    parse("{\"s\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[0,2]}}", 2, &f, &e);
    assert_fine(&e);
    assert_int_equal(f.tensors[0].shape.rank, 0);
    nn_safetensors_close(&f);
}

#define TENSOR(name, type, shape, offsets)                                                                             \
    "\"" name "\":{\"dtype\":\"" type "\",\"shape\":[" shape "],\"data_offsets\":[" offsets "]}"

static void damaged_headers(void **unused) {
    (void)unused;
    static const struct {
        const char *header;
        size_t data;
        const char *message;
    } cases[] = {
        {"{" TENSOR("w", "U8", "2", "0,2") "}", 3, "1 bytes at the end belong to no tensor"},
        {"{" TENSOR("w", "U8", "2", "0,2") "}", 1, "f: byte 60: bytes 0 to 2 of 1"},
        {"{" TENSOR("w", "U8", "2", "1,3") "}", 3, "tensor \"w\" leaves a hole behind \"\""},
        {"{" TENSOR("w", "U8", "2", "0,2") "," TENSOR("v", "U8", "2", "3,5") "}", 5,
         "\"v\" leaves a hole behind \"w\""},
        {"{" TENSOR("w", "U8", "2", "0,2") "," TENSOR("v", "U8", "2", "1,3") "}", 3, "\"v\" overlaps \"w\""},
        {"{" TENSOR("w", "U8", "2", "0,2") "," TENSOR("v", "U8", "2", "0,2") "}", 2, "\"w\" overlaps \"v\""},
        {"{" TENSOR("w", "U8", "2", "0,2") "," TENSOR("w", "U8", "2", "2,4") "}", 4, "two tensors with the name \"w\""},
        {"{" TENSOR("w", "U8", "2", "2,0") "}", 2, "bytes 2 to 0"},
        {"{" TENSOR("w", "F32", "2", "0,2") "}", 2, "a tensor (2) of F32 has 2 bytes"},
        {"{" TENSOR("w", "U8", "2", "-0,2") "}", 2, "there should be a number, not negative"},
        {"{" TENSOR("w", "U8", "2", "0,2.0") "}", 2, "there should be an integer"},
        {"{" TENSOR("w", "U8", "02", "0,2") "}", 2, "a number begins with 0"},
        {"{" TENSOR("w", "U8", "99999999999999999999", "0,2") "}", 2, "too large"},
        {"{" TENSOR("w", "F32", "4611686018427387904,4", "0,0") "}", 0, "has 0 bytes"},
        {"{" TENSOR("w", "F32", "4611686018427387904,0,4", "0,0") "}", 0, "has 0 bytes"},
        {"{" TENSOR("w", "U8", "1,1,1,1,1,1,1,1,1", "0,1") "}", 1, "more than 8 dimensions"},
        {"{" TENSOR("w", "F8_E4M3", "2", "0,2") "}", 2, "numbers of type \"F8_E4M3\" are not supported"},
        {"{" TENSOR("w", "U8", "2", "0,2") ",}", 2, "there should be a '\"'"},
        {"{" TENSOR("w", "U8", "2,", "0,2") "}", 2, "not negative"},
        {"{" TENSOR("w", "U8", "2", "0,2,3") "}", 2, "there should be a ']'"},
        {"{" TENSOR("w", "U8", "2", "0") "}", 2, "there should be a ','"},
        {"{" TENSOR("w", "U8", "2", "0,2") "} x", 2, "something follows the header"},
        {"{" TENSOR("w", "U8", "2", "0,2"), 2, "there should be a ','"},
        {"{\"w\":{\"dtype\":\"U8\",\"shape\":[2]}}", 2, "dtype, shape or data_offsets is missing"},
        {"{\"w\":{\"dtype\":\"U8\",\"dtype\":\"U8\"}}", 2, "the key for the second time"},
        {"{\"w\":{\"type\":\"U8\"}}", 2, "an unknown key"},
        {"{\"w\":[]}", 0, "there should be a '{'"},
        {"{\"w\":{\"dtype\":8}}", 0, "there should be a '\"'"},
        {"{\"w", 0, "a text does not end"},
        {"{\"w\\", 0, "a character that no text may have"},
        {"{\"\\q\":{}}", 0, "f: byte 10: a character that no text may have"},
        {"{\"\\u0000\":{}}", 0, "a character that no text may have"},
        {"{\"\\ud834\":{}}", 0, "a character that no text may have"},
        {"{\"\\udd1e\":{}}", 0, "a character that no text may have"},
        {"{\"\\udd1e\\udd1e\":{}}", 0, "a character that no text may have"},
        {"{\"\\ud834\\u0041\":{}}", 0, "a character that no text may have"},
        {"{\"\\u00g0\":{}}", 0, "a character that no text may have"},
        {"{\"\xff\":{}}", 0, "a character that no text may have"},
        {"{\"\n\":{}}", 0, "a character that no text may have"},
        {"{\"__metadata__\":{\"a\":1}}", 0, "there should be a '\"'"},
        {"{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}", 0, "metadata has two of \"a\""},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "__metadata__ for the second time"},
        {"[]", 0, "not a safetensors file"},
        {" {}", 0, "not a safetensors file"},
        {"{", 0, "not a safetensors file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        nn_error e = {0};
        nn_safetensors f;
        parse(cases[i].header, cases[i].data, &f, &e);
        assert_error(&e, AG_ERR_VALUE, cases[i].message);
        nn_safetensors_close(&f);
    }
    static const uint8_t longer[] = {3, 0, 0, 0, 0, 0, 0, 0, '{', '}'},
                         huge[] = {255, 255, 255, 255, 255, 255, 255, 255, '{', '}'};
    for (size_t size = 0; size <= 10; size++)
        for (int k = 0; k < 2; k++) {
            nn_error e = {0};
            nn_safetensors f = {0};
            nn_safetensors_parse("f", k ? longer : huge, size, &f, &e);
            assert_error(&e, AG_ERR_VALUE, "not a safetensors file");
        }
}

/* ---- files ---- */

static const float weights[] = {1, -2, 3.5f, 0, 5, 6};
static const double scalar = 0.1;
static const int64_t steps[] = {7, -8};
static const uint8_t odd[] = {1, 2, 3};

static void save(const char *path, const float *w, nn_error *e) {
    const nn_tensor tensors[] = {{"odd \"\\\n", NN_U8, {1, {3}}, odd},
                                 {"layer.weight", NN_F32, {2, {2, 3}}, w},
                                 {"scalar", NN_F64, {.rank = 0}, &scalar},
                                 {"none", NN_F16, {2, {0, 4}}, NULL},
                                 {"steps", NN_I64, {1, {2}}, steps}};
    const nn_text_pair metadata[] = {{"format", "pt"}, {"epoch", "3\t\x01 \"quoted\" \xc3\xa9"}};
    nn_safetensors_write(path, tensors, 5, metadata, 2, e);
}

/* What save wrote, but for the first weight, which is returned. */
static float check_saved(const char *path) {
    nn_error e = {0};
    nn_safetensors f = nn_safetensors_open(path, &e);
    assert_fine(&e);
    assert_int_equal(f.count, 5);
    for (int64_t i = 0; i < f.count; i++) /* aligned, and the header's length a multiple of 8 */
        assert_int_equal((uintptr_t)f.tensors[i].data % nn_type_size(f.tensors[i].type), 0);
    assert_string_equal(f.tensors[0].name, "scalar");
    assert_string_equal(nn_safetensors_metadata(&f, "epoch"), "3\t\x01 \"quoted\" \xc3\xa9");
    nn_array w = nn_safetensors_read(&f, "layer.weight", &e), s = nn_safetensors_read(&f, "scalar", &e);
    nn_array n = nn_safetensors_read(&f, "steps", &e), o = nn_safetensors_read(&f, "odd \"\\\n", &e);
    assert_fine(&e);
    assert_true(w.type == NN_F32 && w.shape.rank == 2 && w.shape.dim[1] == 3);
    float first = ((const float *)w.data)[0];
    assert_memory_equal((const float *)w.data + 1, weights + 1, sizeof weights - sizeof *weights);
    assert_memory_equal(s.data, &scalar, 8);
    assert_memory_equal(n.data, steps, 16);
    assert_memory_equal(o.data, odd, 3);
    (void)nn_safetensors_read(&f, "layer.bias", &e);
    assert_error(&e, AG_ERR_VALUE, "there is no tensor \"layer.bias\"");
    nn_safetensors_close(&f);
    nn_array_free(&w), nn_array_free(&s), nn_array_free(&n), nn_array_free(&o);
    return first;
}

static int files_in_folder(void) {
    int count = 0;
    DIR *d = opendir(temporary_folder);
    assert_non_null(d);
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) count += entry->d_name[0] != '.';
    closedir(d);
    return count;
}

static void there_and_back(void **unused) {
    (void)unused;
    nn_error e = {0};
    save(temporary("w.safetensors"), weights, &e);
    assert_fine(&e);
    assert_true(check_saved(temporary("w.safetensors")) == 1);
    nn_content a = nn_content_read(temporary("w.safetensors"), &e); /* the same bytes each time */
    save(temporary("w.safetensors"), weights, &e);
    nn_content b = nn_content_read(temporary("w.safetensors"), &e);
    assert_fine(&e);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.bytes, b.bytes, a.size);
    nn_content_free(&a), nn_content_free(&b);
    nn_safetensors_write(temporary("w.safetensors"), NULL, 0, NULL, 0, &e);
    nn_safetensors f = nn_safetensors_open(temporary("w.safetensors"), &e);
    assert_fine(&e);
    assert_int_equal(f.count, 0);
    nn_safetensors_close(&f);
    assert_int_equal(unlink(temporary("w.safetensors")), 0);
}

static void wrong_tensors(void **unused) {
    (void)unused;
    nn_error e = {0};
    const char *path = temporary("w.safetensors");
    const nn_tensor good = {"w", NN_U8, {1, {3}}, odd};
    nn_tensor bad[] = {good, good};
    nn_safetensors_write(path, bad, 2, NULL, 0, &e);
    assert_error(&e, AG_ERR_VALUE, "two tensors with the name \"w\"");
    bad[0].name = NULL;
    nn_safetensors_write(path, bad, 1, NULL, 0, &e);
    assert_error(&e, AG_ERR_VALUE, "tensor 0 has no name");
    bad[0].name = "__metadata__";
    nn_safetensors_write(path, bad, 1, NULL, 0, &e);
    assert_error(&e, AG_ERR_VALUE, "tensor 0 has no name, or one that it cannot have");
    bad[0].name = "\xff";
    nn_safetensors_write(path, bad, 1, NULL, 0, &e);
    assert_error(&e, AG_ERR_VALUE, "tensor 0");
    bad[0] = good, bad[0].shape.dim[0] = -1;
    nn_safetensors_write(path, bad, 1, NULL, 0, &e);
    assert_error(&e, AG_ERR_VALUE, "tensor \"w\" has no such type or shape, or no data");
    bad[0] = good, bad[0].data = NULL;
    nn_safetensors_write(path, bad, 1, NULL, 0, &e);
    assert_error(&e, AG_ERR_VALUE, "or no data");
    nn_safetensors_write(path, &good, 1, (const nn_text_pair[]){{"a", "b"}, {"a", "c"}}, 2, &e);
    assert_error(&e, AG_ERR_VALUE, "metadata has two of \"a\"");
    nn_safetensors_write(path, &good, 1, (const nn_text_pair[]){{"a", NULL}}, 1, &e);
    assert_error(&e, AG_ERR_VALUE, "metadata 0 is not a text");
    assert_int_equal(files_in_folder(), 0);
    (void)nn_safetensors_open(path, &e);
    assert_error(&e, AG_ERR_FILE, "cannot be opened: No such file");
    (void)nn_safetensors_open(temporary_folder, &e);
    assert_error(&e, AG_ERR_FILE, "not a regular file");
    write_bytes(path, "", 0);
    (void)nn_safetensors_open(path, &e);
    assert_error(&e, AG_ERR_VALUE, "it is empty");
    assert_int_equal(unlink(path), 0);
}

/* A header that no reader would take is not written. */
static void too_long_a_header(void **unused) {
    (void)unused;
    enum { LONG = 100000000 };
    nn_error e = {0};
    char *text = malloc(LONG + 1);
    assert_non_null(text);
    memset(text, 'x', LONG);
    text[LONG] = 0;
    nn_safetensors_write(temporary("w.safetensors"), NULL, 0, (const nn_text_pair[]){{"long", text}}, 1, &e);
    assert_error(&e, AG_ERR_VALUE, "w.safetensors: a header of more than 100000000 bytes");
    assert_int_equal(files_in_folder(), 0);
    free(text);
}

/* A limit on the size of files, at each size from nothing to enough, stands for a full disk. */
static void full_disk(void **unused) {
    (void)unused;
    nn_error e = {0};
    float changed[6];
    struct rlimit old, small;
    memcpy(changed, weights, sizeof weights);
    changed[0] = 100;
    save(temporary("w.safetensors"), weights, &e);
    nn_content whole = nn_content_read(temporary("w.safetensors"), &e);
    assert_fine(&e);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    void (*before)(int) = signal(SIGXFSZ, SIG_IGN);
    for (size_t most = 0; most < whole.size; most += 48) {
        small = old;
        small.rlim_cur = most;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        save(temporary("w.safetensors"), changed, &e);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_error(&e, AG_ERR_FILE, "w.safetensors: cannot be written: File too large");
        assert_true(check_saved(temporary("w.safetensors")) == 1);
        assert_int_equal(files_in_folder(), 1);
    }
    (void)signal(SIGXFSZ, before);
    save(temporary("w.safetensors"), changed, &e);
    assert_fine(&e);
    assert_true(check_saved(temporary("w.safetensors")) == 100);
    nn_content_free(&whole);
    assert_int_equal(unlink(temporary("w.safetensors")), 0);
}

/* Every byte of a file changed, every length cut. */
static void damaged_files(void **unused) {
    (void)unused;
    nn_error e = {0};
    save(temporary("w.safetensors"), weights, &e);
    nn_content c = nn_content_read(temporary("w.safetensors"), &e);
    assert_fine(&e);
    for (size_t i = 0; i < c.size; i++) {
        nn_error each = {0};
        nn_safetensors f = {0};
        c.bytes[i] ^= 0x15;
        nn_safetensors_parse("f", c.bytes, c.size, &f, &each);
        if (i < 8) assert_error(&each, AG_ERR_VALUE, "f: ");
        c.bytes[i] ^= 0x15;
        nn_safetensors_close(&f);
    }
    for (size_t size = 0; size < c.size; size++) {
        nn_safetensors f = {0};
        nn_safetensors_parse("f", c.bytes, size, &f, &e);
        assert_error(&e, AG_ERR_VALUE, "f: ");
        nn_safetensors_close(&f);
    }
    nn_content_free(&c);
    assert_int_equal(unlink(temporary("w.safetensors")), 0);
}

/* ---- memory ---- */

static void save_and_load(nn_error *e) {
    static const uint8_t data[18] = {0};
    char names[18][16];
    nn_tensor tensors[18];
    for (int i = 0; i < 18; i++) {
        (void)snprintf(names[i], sizeof names[i], "w%d", i);
        tensors[i] = (nn_tensor){names[i], NN_U8, {1, {1}}, &data[i]};
    }
    nn_safetensors_write(temporary("m.safetensors"), tensors, 18, (const nn_text_pair[]){{"a", "b"}}, 1, e);
    nn_safetensors f = nn_safetensors_open(temporary("m.safetensors"), e);
    nn_array a = nn_safetensors_read(&f, "w17", e);
    nn_array_free(&a);
    nn_safetensors_close(&f);
}

static void no_memory(void **unused) {
    (void)unused;
    refuse_each_allocation(save_and_load);
    assert_int_equal(unlink(temporary("m.safetensors")), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_headers),  cmocka_unit_test(damaged_headers),   cmocka_unit_test(there_and_back),
        cmocka_unit_test(wrong_tensors), cmocka_unit_test(full_disk),         cmocka_unit_test(damaged_files),
        cmocka_unit_test(no_memory),     cmocka_unit_test(too_long_a_header),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
