/* CSV, tables, and texts by characters. */
#include "comma_locale.h"
#include "data_files.h"

#include <math.h>

static nn_table parse(const char *text, const nn_csv_options *options, nn_error *e) {
    size_t size = strlen(text);
    char *copy = calloc(size + 1, 1);
    memcpy(copy, text, size);
    nn_table t = nn_csv_parse("f.csv", copy, size, options, e);
    free(copy);
    return t;
}

static double at(const nn_table *t, int64_t row, int64_t column) {
    return nn_array_at(&t->values, row * t->values.shape.dim[1] + column);
}

static void assert_shape(const nn_table *t, int64_t rows, int64_t columns) {
    assert_int_equal(t->values.shape.rank, 2);
    assert_int_equal(t->values.shape.dim[0], rows);
    assert_int_equal(t->values.shape.dim[1], columns);
}

/* ---- what is read ---- */

static void plain(void **unused) {
    (void)unused;
    nn_error e = {0};
    nn_table t = parse("a,b\n1,2\n-3.5e-2, +.5\t\n", NULL, &e);
    assert_fine(&e);
    assert_shape(&t, 2, 2);
    assert_string_equal(t.names[0], "a");
    assert_string_equal(t.names[1], "b");
    assert_true(at(&t, 0, 0) == 1 && at(&t, 0, 1) == 2 && at(&t, 1, 0) == -3.5e-2 && at(&t, 1, 1) == .5);
    assert_int_equal(nn_table_find(&t, "b"), 1);
    assert_int_equal(nn_table_find(&t, "c"), -1);
    nn_table_free(&t);
    nn_table_free(&t);
    t = parse("x\n", NULL, &e); /* a header and nothing else */
    assert_fine(&e);
    assert_shape(&t, 0, 1);
    nn_table_free(&t);
}

static void forms_of_files(void **unused) {
    (void)unused;
    static const struct {
        const char *text;
        char separator;
        bool no_header;
    } same[] = {
        {"a,b\n1,2\n3,4\n", 0, false},   {"a,b\r\n1,2\r\n3,4\r\n", 0, false},
        {"a,b\n1,2\n3,4", 0, false},     {"\xef\xbb\xbf\"a\",b\n1,\"2\"\n3,4", 0, false},
        {"a;b\n1;2\n3;4\n", ';', false}, {"a\tb\n1\t2\n3\t4\n", '\t', false},
        {"1,2\n3,4\n", 0, true},         {"\n\na,b\n\n1,2\n\r\n3,4\n\n", 0, false},
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        nn_error e = {0};
        nn_table t =
            parse(same[i].text, &(nn_csv_options){.separator = same[i].separator, .no_header = same[i].no_header}, &e);
        assert_fine(&e);
        assert_shape(&t, 2, 2);
        assert_string_equal(t.names[1], same[i].no_header ? "2" : "b");
        for (int k = 0; k < 4; k++) assert_true(nn_array_at(&t.values, k) == k + 1);
        nn_table_free(&t);
    }
}

static void categories(void **unused) {
    (void)unused;
    static const char *const texts[] = {"colour"};
    nn_error e = {0};
    nn_csv_options o = {.texts = texts, .text_count = 1};
    nn_table t = parse("id,colour\n1,red\n2,\"blue, \"\"light\"\"\"\n3,red\n4,\"two\nlines\"\n5,green\n", &o, &e);
    assert_fine(&e);
    static const char *const want[] = {"blue, \"light\"", "green", "red", "two\nlines"};
    static const double codes[] = {2, 0, 2, 3, 1};
    assert_int_equal(t.categories[0].count, 0);
    assert_int_equal(t.categories[1].count, 4);
    for (int i = 0; i < 4; i++) assert_string_equal(t.categories[1].texts[i], want[i]);
    for (int i = 0; i < 5; i++) assert_true(at(&t, i, 1) == codes[i]);

    o.like = &t; /* another file, with the same codes */
    nn_table u = parse("colour\nred\ngreen\n", &o, &e);
    assert_fine(&e);
    assert_true(at(&u, 0, 0) == 2 && at(&u, 1, 0) == 1 && u.categories[0].count == 4);
    nn_table_free(&u);
    (void)parse("colour\nred\npink\n", &o, &e);
    assert_error(&e, AG_ERR_VALUE, "f.csv:3:1: column \"colour\": \"pink\" is not one of the known categories");
    o.texts = (const char *const[]){"id"};
    (void)parse("id\nred\n", &o, &e);
    assert_error(&e, AG_ERR_VALUE, "no categories for column \"id\"");
    nn_table_free(&t);
}

static void chosen_columns(void **unused) {
    (void)unused;
    nn_error e = {0};
    static const char *const names[] = {"c", "a"}, *const twice[] = {"c", "c"}, *const none[] = {"d"};
    nn_csv_options o = {.columns = names, .column_count = 2};
    nn_table t = parse("a,b,c\n1,nonsense,3\n4,,6\n", &o, &e);
    assert_fine(&e);
    assert_shape(&t, 2, 2);
    assert_true(at(&t, 0, 0) == 3 && at(&t, 0, 1) == 1 && at(&t, 1, 0) == 6 && at(&t, 1, 1) == 4);

    nn_array c = nn_table_columns(&t, twice, 2, NN_I32, &e), a = nn_table_column(&t, "a", NN_I64, &e);
    assert_fine(&e);
    assert_true(c.shape.rank == 2 && c.shape.dim[1] == 2 && nn_array_at(&c, 2) == 6 && nn_array_at(&c, 3) == 6);
    assert_true(a.shape.rank == 1 && a.shape.dim[0] == 2 && nn_array_at(&a, 1) == 4 && a.type == NN_I64);
    nn_array_free(&a), nn_array_free(&c);
    (void)nn_table_columns(&t, none, 1, NN_F32, &e);
    assert_error(&e, AG_ERR_VALUE, "none is called \"d\"");
    nn_table_free(&t);
    o.columns = none, o.column_count = 1;
    (void)parse("a,b\n1,2\n", &o, &e);
    assert_error(&e, AG_ERR_VALUE, "no column is called \"d\"");
    const char *const unnamed[] = {NULL};
    (void)parse("a,b\n1,2\n", &(nn_csv_options){.columns = unnamed, .column_count = 1}, &e);
    assert_error(&e, AG_ERR_VALUE, "the name of a column is NULL");
    (void)parse("a,b\n1,2\n", &(nn_csv_options){.texts = unnamed, .text_count = 1}, &e);
    assert_error(&e, AG_ERR_VALUE, "the name of a column is NULL");
    (void)parse("a,b\n1,2\n", &(nn_csv_options){.text_count = 1}, &e);
    assert_error(&e, AG_ERR_VALUE, "the array of columns of texts is NULL");
    o.columns = names, o.column_count = 2;
    (void)parse("c,a,a\n1,2,3\n", &o, &e);
    assert_error(&e, AG_ERR_VALUE, "two columns are called \"a\": 2 and 3");
    t = parse("x,a,b,a,c,a\n1,2,3,4,5,6\n", NULL, &e);
    assert_error(&e, AG_ERR_VALUE, "two columns are called \"a\": 2 and 4");
    t = parse("x,a,b,a\n1,2,3,4\n", &(nn_csv_options){.columns = (const char *const[]){"b", "x"}, .column_count = 2},
              &e);
    assert_int_equal(t.values.shape.dim[1], 2);
    nn_table_free(&t);
    assert_fine(&e);
    o.texts = none, o.text_count = 1;
    (void)parse("a,c,d\n1,2,3\n", &o, &e);
    assert_error(&e, AG_ERR_VALUE, "texts of column \"d\", which is not read");
    o = (nn_csv_options){.columns = names};
    (void)parse("a,c,d\n1,2,3\n", &o, &e);
    assert_error(&e, AG_ERR_VALUE, "no columns are to be read");
    t = parse("a,b\n1.5,2\n", NULL, &e);
    (void)nn_table_column(&t, "a", NN_I32, &e);
    assert_error(&e, AG_ERR_VALUE, "row 0 of \"a\" is 1.5, which I32 cannot hold");
    nn_table_free(&t);
    (void)nn_table_column(&t, "a", NN_I32, &e);
    assert_error(&e, AG_ERR_VALUE, "there is no table");
}

static void missing_values(void **unused) {
    (void)unused;
    static const char *const texts[] = {"b"};
    static const char text[] = "a,b\n1,x\n,y\n3,\nNaN,z\n ? ,?\n6,nan\n";
    nn_error e = {0};
    nn_csv_options o = {.texts = texts, .text_count = 1, .missing_text = "?"};
    (void)parse(text, &o, &e);
    assert_error(&e, AG_ERR_VALUE, "f.csv:3:1: column \"a\": \"\" is no value: it is missing");
    o.missing = NN_MISSING_NAN;
    nn_table t = parse(text, &o, &e);
    assert_fine(&e);
    assert_shape(&t, 6, 2);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(isnan(at(&t, i, 0)) != 0, i == 1 || i == 3 || i == 4);
        assert_int_equal(isnan(at(&t, i, 1)) != 0, i == 2 || i == 4);
    }
    assert_int_equal(t.categories[1].count, 4); /* nan x y z */
    nn_table_free(&t);
    o.missing = NN_MISSING_SKIP;
    t = parse(text, &o, &e);
    assert_shape(&t, 2, 2);
    assert_int_equal(t.categories[1].count, 2); /* of the rows that stay */
    assert_true(at(&t, 0, 1) == 1 && at(&t, 1, 1) == 0);
    nn_table_free(&t);
    t = parse("a\n1\n\n3\n", &(nn_csv_options){.missing = NN_MISSING_NAN},
              &e); /* a blank line is a row of one column */
    assert_fine(&e);
    assert_shape(&t, 3, 1);
    nn_table_free(&t);
}

static void numbers(void **unused) {
    (void)unused;
    static const char *const bad[] = {"x",   "1x",    "0x10",    "1 2", "1e",    "e5",   ".",     "-",
                                      "1,5", "1e999", "infinit", "--1", "1.2.3", "nanx", "1e5.0", "\xc3\xa9"};
    nn_error e = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "a;b\n1;%s\n", bad[i]);
        (void)parse(text, &(nn_csv_options){.separator = ';'}, &e);
        assert_error(&e, AG_ERR_VALUE, "f.csv:2:3: column \"b\": ");
    }
    nn_table t = parse("a\ninf\n-Infinity\n1e-400\n5.\n4.9406564584124654e-324\n0.1\n", NULL, &e);
    assert_fine(&e);
    static const double want[] = {INFINITY, -INFINITY, 0, 5, 4.9406564584124654e-324, 0.1};
    for (int i = 0; i < 6; i++) assert_true(at(&t, i, 0) == want[i]);
    nn_table_free(&t);
}

/* ---- errors ---- */

static void damaged(void **unused) {
    (void)unused;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "f.csv: there is nothing in it"},
        {"\n\n", "f.csv: there is nothing in it"},
        {"a,b\n1,2\n3\n", "f.csv:3:1: 1 fields, not 2"},
        {"a,b\n1,2,3\n", "f.csv:2:5: 3 fields, not 2"},
        {"a,b\n1,x\n", "f.csv:2:3: column \"b\": \"x\" is not a number"},
        {"a,b\n1,\"x\n", "f.csv:2:3: the quoted field does not end"},
        {"a,b\n\"1\"0,2\n", "f.csv:2:4: something between a closing quote and the separator"},
        {"a,b\n\"\n\"z,1\n", "f.csv:3:2: something between a closing quote and the separator"},
        {"a,b\n1\"0\",2\n", "f.csv:2:2: a quote inside a field"},
        {"a,b\r1,2\r", "f.csv:1:4: a carriage return without a line feed"},
        {"a,b\n\"1\n2\",\"\n\n\"\n1,x\n", "f.csv:2:1: column \"a\": \"1\n2\" is not a number"},
        {"a,b\n1,2\n\"3\",4,\n", "f.csv:3:7: 3 fields, not 2"},
    };
    nn_error e = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        (void)parse(cases[i].text, NULL, &e);
        assert_error(&e, AG_ERR_VALUE, cases[i].message);
    }
    char zero[] = "a\n1\0\n", quoted[] = "a\n\"1\0\"\n";
    (void)nn_csv_parse("f.csv", zero, sizeof zero - 1, NULL, &e);
    assert_error(&e, AG_ERR_VALUE, "f.csv:2:2: there is a byte 0");
    (void)nn_csv_parse("f.csv", quoted, sizeof quoted - 1, NULL, &e);
    assert_error(&e, AG_ERR_VALUE, "f.csv:2:3: there is a byte 0");
    (void)parse("a", &(nn_csv_options){.separator = '"'}, &e);
    assert_error(&e, AG_ERR_VALUE, "the separator is a quote or a line's end");
    (void)nn_csv_read("/nowhere/a.csv", NULL, &e);
    assert_error(&e, AG_ERR_FILE, "/nowhere/a.csv: cannot be opened");
}

/* ---- writing ---- */

static void there_and_back(void **unused) {
    (void)unused;
    static const char *const texts[] = {"b, \"c\""};
    nn_error e = {0};
    nn_csv_options o = {.texts = texts, .text_count = 1, .missing = NN_MISSING_NAN};
    nn_table t =
        parse("a,\"b, \"\"c\"\"\"\n0.1,\"x\ny\"\n1e308,z\n,\n-inf,\" w\"\n3.0000000000000004,\"q\"\"\"\n", &o, &e);
    assert_fine(&e);
    nn_csv_write(temporary("t.csv"), &t, &e);
    nn_table u = nn_csv_read(temporary("t.csv"), &o, &e);
    assert_fine(&e);
    assert_shape(&u, 5, 2);
    for (int i = 0; i < 10; i++) {
        double x = nn_array_at(&t.values, i), y = nn_array_at(&u.values, i);
        assert_true(x == y || (isnan(x) && isnan(y)));
    }
    assert_string_equal(u.names[1], texts[0]);
    for (int i = 0; i < 4; i++) assert_string_equal(u.categories[1].texts[i], t.categories[1].texts[i]);
    nn_table_free(&t), nn_table_free(&u);

    nn_array a = nn_array_new(NN_F32, AG_SHAPE(2, 2), &e); /* an array without names */
    ((float *)a.data)[1] = 0.1f, ((float *)a.data)[2] = 16777217.0f, ((float *)a.data)[3] = -1e-45f;
    nn_csv_write(temporary("t.csv"), &(nn_table){.values = a}, &e);
    nn_content c = nn_content_read(temporary("t.csv"), &e);
    assert_string_equal((char *)c.bytes, "0,0.1\n16777216,-1.4013e-45\n");
    nn_content_free(&c);
    a.shape = AG_SHAPE(4, 1); /* a column whose name is empty, which is no blank line */
    nn_csv_write(temporary("t.csv"), &(nn_table){.values = a, .names = (char *[]){(char[]){""}}}, &e);
    t = nn_csv_read(temporary("t.csv"), NULL, &e);
    assert_fine(&e);
    assert_shape(&t, 4, 1);
    assert_string_equal(t.names[0], "");
    nn_table_free(&t);
    a.shape = AG_SHAPE(4);
    nn_csv_write(temporary("t.csv"), &(nn_table){.values = a}, &e);
    assert_error(&e, AG_ERR_SHAPE, "only an array (rows, columns)");
    nn_array_free(&a);
    assert_int_equal(unlink(temporary("t.csv")), 0);
}

static void other_locale(void **unused) {
    (void)unused;
    choose_comma_locale();
    nn_error e = {0};
    nn_table t = parse("a\n1.5\n", NULL, &e);
    assert_fine(&e);
    assert_true(at(&t, 0, 0) == 1.5);
    nn_csv_write(temporary("t.csv"), &t, &e);
    nn_content c = nn_content_read(temporary("t.csv"), &e);
    assert_string_equal((char *)c.bytes, "a\n1.5\n");
    nn_content_free(&c);
    nn_table_free(&t);
    assert_int_equal(unlink(temporary("t.csv")), 0);
    (void)setlocale(LC_ALL, "C");
}

/* ---- characters ---- */

static void characters(void **unused) {
    (void)unused;
    static const char text[] = "b\xc3\xa9\x61\xe2\x82\xac\xf0\x9d\x84\x9e"
                               "b"; /* b é a € 𝄞 b */
    static const int32_t want[] = {1, 2, 0, 3, 4, 1};
    nn_error e = {0};
    nn_vocabulary v = nn_vocabulary_of(text, sizeof text - 1, &e);
    nn_array codes = nn_encode(&v, text, sizeof text - 1, &e);
    assert_fine(&e);
    assert_int_equal(v.count, 5);
    assert_int_equal(nn_array_count(&codes), 6);
    assert_memory_equal(codes.data, want, sizeof want);
    char c[5], all[sizeof text] = "";
    for (int i = 0; i < 6; i++) {
        assert_true(nn_decode(&v, want[i], c) > 0);
        strcat(all, c);
    }
    assert_string_equal(all, text);
    assert_int_equal(nn_decode(&v, 5, c), 0);
    assert_int_equal(nn_decode(&v, -1, c), 0);
    (void)nn_encode(&v, "a\nab\nac", 7, &e);
    assert_error(&e, AG_ERR_VALUE, "text:1:2: byte 1: the character U+000A is not in the vocabulary");
    nn_vocabulary_free(&v);
    nn_array_free(&codes);
    nn_vocabulary_free(&v);
}

/* From table 3-7 of the Unicode standard: what is next to each well-formed range is not UTF-8. */
static void utf8(void **unused) {
    (void)unused;
    static const char *const bad[] = {
        "\x80",     "\xc0\x80",     "\xc1\xbf",         "\xe0\x9f\xbf",     "\xed\xa0\x80",
        "\xe2\x82", "\xe2\x82\x41", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
        "\xff",     "\xc3",         "\xf0\x9d\x84"};
    static const struct {
        const char *text;
        uint32_t point;
    } good[] = {{"\x7f", 0x7f},
                {"\xc2\x80", 0x80},
                {"\xdf\xbf", 0x7ff},
                {"\xe0\xa0\x80", 0x800},
                {"\xed\x9f\xbf", 0xd7ff},
                {"\xee\x80\x80", 0xe000},
                {"\xef\xbf\xbf", 0xffff},
                {"\xf0\x90\x80\x80", 0x10000},
                {"\xf4\x8f\xbf\xbf", 0x10ffff}};
    nn_error e = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[16], *exact = malloc(strlen(bad[i]) + 2); /* nothing is read behind its end */
        int size = snprintf(text, sizeof text, "a\n%s", bad[i]);
        memcpy(exact, text, (size_t)size);
        (void)nn_vocabulary_of(exact, (size_t)size, &e);
        assert_error(&e, AG_ERR_VALUE, "text:2:1: byte 2: 0x");
        free(exact);
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        nn_vocabulary v = nn_vocabulary_of(good[i].text, strlen(good[i].text), &e);
        char c[5];
        assert_fine(&e);
        assert_true(v.count == 1 && v.points[0] == good[i].point);
        assert_int_equal(nn_decode(&v, 0, c), strlen(good[i].text));
        assert_string_equal(c, good[i].text);
        nn_vocabulary_free(&v);
    }
    nn_vocabulary v = nn_vocabulary_of(NULL, 0, &e);
    nn_array none = nn_encode(&v, NULL, 0, &e);
    assert_fine(&e);
    assert_true(v.count == 0 && nn_array_count(&none) == 0);
    nn_vocabulary_free(&v);
    nn_array_free(&none);
}

static void shakespeare(void **unused) {
    (void)unused;
    nn_error e = {0};
    const char *path = real_file("text/tinyshakespeare.txt.gz");
    if (path == NULL) skip();
    nn_array text = nn_text_read(path, &e);
    size_t size = (size_t)nn_array_count(&text);
    nn_vocabulary v = nn_vocabulary_of(text.data, size, &e);
    nn_array codes = nn_encode(&v, text.data, size, &e);
    assert_fine(&e);
    assert_int_equal(size, 1115394);
    assert_int_equal(v.count, 65); /* as everybody who trained on it says */
    assert_int_equal(nn_array_count(&codes), 1115394);
    nn_array_free(&text), nn_array_free(&codes), nn_vocabulary_free(&v);
}

/* ---- memory ---- */

static void read_and_write(nn_error *e) {
    static const char *const texts[] = {"b", "c"};
    nn_csv_options o = {.texts = texts, .text_count = 2, .missing = NN_MISSING_NAN};
    char text[4096] = "a,b,c\n";
    for (int i = 0; i < 60; i++)
        (void)snprintf(text + strlen(text), sizeof text - strlen(text), "%d,x%d,\"y%d\"\n", i, i, i % 3);
    nn_table t = parse(text, &o, e), u = {0};
    nn_csv_write(temporary("m.csv"), &t, e);
    o.like = &t;
    if (e->status == AG_OK) u = nn_csv_read(temporary("m.csv"), &o, e);
    nn_array a = e->status == AG_OK ? nn_table_columns(&u, texts, 2, NN_F32, e) : (nn_array){0};
    nn_vocabulary v = nn_vocabulary_of(text, strlen(text), e);
    nn_array codes = nn_encode(&v, text, strlen(text), e);
    nn_table_free(&t), nn_table_free(&u), nn_array_free(&a), nn_array_free(&codes), nn_vocabulary_free(&v);
}

static void no_memory(void **unused) {
    (void)unused;
    refuse_each_allocation(read_and_write);
    assert_int_equal(unlink(temporary("m.csv")), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain),          cmocka_unit_test(forms_of_files), cmocka_unit_test(categories),
        cmocka_unit_test(chosen_columns), cmocka_unit_test(missing_values), cmocka_unit_test(numbers),
        cmocka_unit_test(damaged),        cmocka_unit_test(there_and_back), cmocka_unit_test(other_locale),
        cmocka_unit_test(characters),     cmocka_unit_test(utf8),           cmocka_unit_test(shakespeare),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
