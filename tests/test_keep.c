/* Weights on disk: what is saved is loaded, bit for bit or converted; what does not fit changes nothing. */
#include "data_files.h"

#include <math.h>

#include "nn/keep/keep_impl.h"
#include "nn/nn.h"

typedef struct net {
    ag_tape *tape;
    nn_model *model;
} net;

/* A dense layer, a norm's buffers, a scalar; other numbers for another seed. */
static net open_net(ag_type type, uint64_t seed) {
    net n = {.tape = ag_tape_new(type)};
    n.model = nn_model_new(n.tape, seed);
    (void)nn_dense_init(n.model, "fc", 3, 4, (nn_dense_options){0});
    (void)nn_parameter(n.model, "scale", (ag_shape){.rank = 0}, NN_GAUSSIAN);
    (void)nn_buffer(n.model, "bn.running_mean", AG_SHAPE(4), NN_GAUSSIAN);
    (void)nn_buffer(n.model, "bn.num_batches_tracked", (ag_shape){.rank = 0}, NN_ZEROS);
    double count = (double)seed;
    ag_set(nn_buffer_find(n.model, "bn.num_batches_tracked"), &count);
    return n;
}

static void close_net(net *n) {
    nn_model_free(n->model);
    ag_tape_free(n->tape);
}

/* All numbers of a model, as doubles. */
static void numbers_of(const net *n, double numbers[22]) {
    int k = 0;
    for (int i = 0; i < nn_parameter_count(n->model); i++) {
        ag_read(nn_parameter_at(n->model, i), numbers + k);
        k += (int)ag_count(nn_parameter_at(n->model, i));
    }
    for (int i = 0; i < nn_buffer_count(n->model); i++) {
        ag_read(nn_buffer_at(n->model, i), numbers + k);
        k += (int)ag_count(nn_buffer_at(n->model, i));
    }
    assert_int_equal(k, 22);
}

static void expect_same(const net *a, const net *b) {
    double x[22], y[22];
    numbers_of(a, x);
    numbers_of(b, y);
    assert_memory_equal(x, y, sizeof x);
}

static void there_and_back(void **unused) {
    (void)unused;
    for (int type = 0; type < 2; type++) {
        nn_error e = {0};
        net a = open_net(type ? AG_F32 : AG_F64, 1), b = open_net(type ? AG_F32 : AG_F64, 2);
        nn_model_save(a.model, temporary("w"), &e);
        assert_int_equal(nn_model_load(b.model, temporary("w"), (nn_load_options){0}, &e), 5);
        assert_fine(&e);
        expect_same(&a, &b);
        nn_safetensors f = nn_safetensors_open(temporary("w"), &e);
        assert_fine(&e);
        assert_string_equal(nn_safetensors_metadata(&f, "format"), "pt");
        const nn_tensor *t = nn_safetensors_find(&f, "bn.num_batches_tracked");
        assert_true(t != NULL && t->type == NN_I64 && t->shape.rank == 0);
        t = nn_safetensors_find(&f, "fc.weight");
        assert_true(t != NULL && t->type == (type ? NN_F32 : NN_F64) && t->shape.dim[0] == 4 && t->shape.dim[1] == 3);
        nn_safetensors_close(&f);
        assert_int_equal(unlink(temporary("w")), 0);
        close_net(&a), close_net(&b);
    }
}

/* ---- other types ---- */

/* A file of a net's names, all floats 1.0009765625 * (1 + 2^-20), which types round differently, in that type. */
static void write_as(const char *path, nn_type type, nn_type counter, nn_error *e) {
    static const struct {
        const char *name;
        ag_shape shape;
    } all[] = {{"fc.weight", {2, {4, 3}}},
               {"fc.bias", {1, {4}}},
               {"scale", {.rank = 0}},
               {"bn.running_mean", {1, {4}}},
               {"bn.num_batches_tracked", {.rank = 0}}};
    nn_tensor tensors[5];
    nn_array arrays[5];
    for (int i = 0; i < 5; i++) {
        nn_array doubles = nn_array_new(NN_F64, all[i].shape, e);
        for (int64_t k = 0; k < nn_array_count(&doubles); k++)
            ((double *)doubles.data)[k] = i == 4 ? 3 : 1.0009765625 * (1 + 0x1p-20);
        arrays[i] = nn_array_convert(&doubles, i == 4 ? counter : type, e);
        tensors[i] = (nn_tensor){all[i].name, arrays[i].type, all[i].shape, arrays[i].data};
        nn_array_free(&doubles);
    }
    nn_safetensors_write(path, tensors, 5, NULL, 0, e);
    for (int i = 0; i < 5; i++) nn_array_free(&arrays[i]);
}

static void other_types(void **unused) {
    (void)unused;
    static const struct {
        nn_type type, counter;
        double value;
    } cases[] = {{NN_F64, NN_I64, 1.0009765625 * (1 + 0x1p-20)},
                 {NN_F32, NN_I32, (double)(float)(1.0009765625 * (1 + 0x1p-20))},
                 {NN_F16, NN_F32, 1.0009765625},
                 {NN_BF16, NN_U8, 1}};
    for (size_t i = 0; i < 4; i++)
        for (int type = 0; type < 2; type++) {
            nn_error e = {0};
            double x[22];
            net n = open_net(type ? AG_F32 : AG_F64, 1);
            write_as(temporary("w"), cases[i].type, cases[i].counter, &e);
            (void)nn_model_load(n.model, temporary("w"), (nn_load_options){0}, &e);
            assert_fine(&e);
            numbers_of(&n, x);
            double right = type ? (double)(float)cases[i].value : cases[i].value;
            for (int k = 0; k < 21; k++) assert_true(x[k] == right);
            assert_true(x[21] == 3);
            assert_int_equal(unlink(temporary("w")), 0);
            close_net(&n);
        }
}

/* ---- what does not fit ---- */

static void refused(const nn_tensor *tensors, int64_t count, nn_load_options options, const char *message) {
    nn_error e = {0};
    double before[22], after[22];
    net n = open_net(AG_F32, 1);
    numbers_of(&n, before);
    nn_safetensors_write(temporary("w"), tensors, count, NULL, 0, &e);
    assert_fine(&e);
    assert_int_equal(nn_model_load(n.model, temporary("w"), options, &e), 0);
    assert_error(&e, AG_ERR_VALUE, message);
    numbers_of(&n, after);
    assert_memory_equal(before, after, sizeof before);
    assert_int_equal(unlink(temporary("w")), 0);
    close_net(&n);
}

static const float some[12] = {1, 2, 3};
static const double huge[] = {1, 1e39, 1, 1};
static const int64_t whole[] = {1, 2, 3, 4};
static const nn_tensor right[] = {{"fc.weight", NN_F32, {2, {4, 3}}, some},
                                  {"fc.bias", NN_F32, {1, {4}}, some},
                                  {"scale", NN_F32, {.rank = 0}, some},
                                  {"bn.running_mean", NN_F32, {1, {4}}, some},
                                  {"bn.num_batches_tracked", NN_I64, {.rank = 0}, whole}};

/* The right ones with number i replaced. */
static void refused_with(int i, nn_tensor other, const char *message) {
    nn_tensor tensors[5];
    memcpy(tensors, right, sizeof right);
    tensors[i] = other;
    refused(tensors, 5, (nn_load_options){0}, message);
}

static void misfits(void **unused) {
    (void)unused;
    nn_load_options lenient = {.lenient = true};
    const nn_renaming same[] = {{"a.", "fc."}};
    refused_with(0, (nn_tensor){"fc.weight", NN_F32, {2, {3, 4}}, some},
                 "w: does not fit the model: \"fc.weight\" is (3, 4), not (4, 3)");
    refused_with(1, (nn_tensor){"fc.bia", NN_F32, {1, {4}}, some},
                 ": \"fc.bia\" is not in the model; \"fc.bias\" is missing");
    refused_with(1, (nn_tensor){"fc.bias", NN_I64, {1, {4}}, whole}, "\"fc.bias\" is I64, not a floating-point type");
    refused_with(1, (nn_tensor){"fc.bias", NN_F64, {1, {4}}, huge},
                 "\"fc.bias\" has 1e+39 at 1, which does not fit F32");
    refused_with(4, (nn_tensor){"bn.num_batches_tracked", NN_F64, {.rank = 0}, &(const double){1.5}},
                 "\"bn.num_batches_tracked\" has 1.5 at 0, which does not fit I64");
    refused_with(4, (nn_tensor){"bn.num_batches_tracked", NN_F32, {1, {1}}, some}, "is (1), not ()");
    refused(right, 0, (nn_load_options){0},
            "\"bn.num_batches_tracked\" is missing; \"bn.running_mean\" is missing; \"fc.bias\" is missing; "
            "\"fc.weight\" is missing; \"scale\" is missing");
    nn_tensor two[] = {right[1], right[1]};
    two[0].name = "a.bias";
    refused(two, 2, (nn_load_options){true, same, 1}, "two tensors for \"fc.bias\"");
    two[0] = (nn_tensor){"scale", NN_F32, {1, {1}}, some};
    refused(two, 1, lenient, "\"scale\" is (1), not ()");
    char names[30][90];
    nn_tensor many[30];
    for (int i = 0; i < 30; i++) {
        (void)snprintf(names[i], sizeof names[i], "%080d", i);
        many[i] = (nn_tensor){names[i], NN_F32, {.rank = 0}, some};
    }
    refused(many, 30, (nn_load_options){0}, " is not in the model; and 33 more");
}

static void files_and_models(void **unused) {
    (void)unused;
    nn_error e = {0};
    net n = open_net(AG_F32, 1);
    (void)nn_model_load(n.model, temporary("none"), (nn_load_options){0}, &e);
    assert_error(&e, AG_ERR_FILE, "none: cannot be opened");
    write_bytes(temporary("w"), "x", 1);
    (void)nn_model_load(n.model, temporary("w"), (nn_load_options){0}, &e);
    assert_error(&e, AG_ERR_VALUE, "w: not a safetensors file");
    nn_model_save(NULL, temporary("w"), &e);
    assert_error(&e, AG_ERR_VALUE, "there is no model");
    double half = 0.5;
    ag_set(nn_buffer_find(n.model, "bn.num_batches_tracked"), &half);
    nn_model_save(n.model, temporary("w"), &e);
    assert_error(&e, AG_ERR_VALUE, "\"bn.num_batches_tracked\" is 0.5, no whole number");
    ag_fail(n.tape, AG_ERR_VALUE, "broken");
    nn_model_save(n.model, temporary("w"), &e);
    assert_error(&e, AG_ERR_VALUE, "the model: broken");
    nn_fail(&e, AG_ERR_VALUE, "before");
    (void)nn_model_load(n.model, temporary("w"), (nn_load_options){0}, &e);
    assert_error(&e, AG_ERR_VALUE, "before");
    assert_int_equal(unlink(temporary("w")), 0);
    close_net(&n);
}

/* ---- names ---- */

static void other_names(void **unused) {
    (void)unused;
    nn_error e = {0};
    const nn_renaming renamings[] = {{"model.", ""}, {"fc.", "none."}, {"", ""}};
    nn_tensor tensors[5];
    char names[5][40];
    memcpy(tensors, right, sizeof right);
    for (int i = 0; i < 5; i++) {
        (void)snprintf(names[i], sizeof names[i], "model.%s", right[i].name);
        tensors[i].name = names[i];
    }
    net n = open_net(AG_F32, 1), old = open_net(AG_F32, 1);
    double x[22];
    nn_safetensors_write(temporary("w"), tensors, 5, NULL, 0, &e);
    assert_int_equal(nn_model_load(n.model, temporary("w"), (nn_load_options){.lenient = true}, &e), 0);
    expect_same(&n, &old);
    assert_int_equal(nn_model_load(n.model, temporary("w"), (nn_load_options){false, renamings, 3}, &e), 5);
    assert_fine(&e);
    numbers_of(&n, x);
    assert_true(x[0] == 1 && x[1] == 2 && x[12] == 1 && x[16] == 1 && x[17] == 1 && x[21] == 1);
    /* some of them, and others */
    tensors[0].name = "other";
    tensors[1].name = "scale";
    tensors[1].shape = (ag_shape){.rank = 0};
    nn_safetensors_write(temporary("w"), tensors, 2, NULL, 0, &e);
    assert_int_equal(nn_model_load(old.model, temporary("w"), (nn_load_options){.lenient = true}, &e), 1);
    assert_fine(&e);
    assert_true(ag_value(nn_parameter_find(old.model, "scale")) == 1);
    assert_int_equal(unlink(temporary("w")), 0);
    close_net(&n), close_net(&old);
}

/* ---- PyTorch ---- */

/* The model of tests/torch/weights.py. */
static ag_var torch_net(net *n, const float *x) {
    nn_dense fc1 = {nn_parameter_find(n->model, "fc1.weight"), nn_parameter_find(n->model, "fc1.bias")};
    nn_dense fc2 = {nn_parameter_find(n->model, "fc2.weight"), ag_num(0)};
    ag_var h = nn_dense_apply(fc1, ag_constant_tensor_f32(n->tape, x, AG_SHAPE(4, 3)));
    h = ag_sub(h, nn_buffer_find(n->model, "bn.running_mean"));
    h = ag_div(h, ag_sqrt(ag_add(nn_buffer_find(n->model, "bn.running_var"), 1e-5)));
    h = ag_fma(h, nn_parameter_find(n->model, "bn.weight"), nn_parameter_find(n->model, "bn.bias"));
    return nn_dense_apply(fc2, ag_tanh(h));
}

static net open_torch_net(uint64_t seed) {
    net n = {.tape = ag_tape_new(AG_F32)};
    n.model = nn_model_new(n.tape, seed);
    (void)nn_dense_init(n.model, "fc1", 3, 5, (nn_dense_options){0});
    (void)nn_parameter(n.model, "bn.weight", AG_SHAPE(5), NN_ONES);
    (void)nn_parameter(n.model, "bn.bias", AG_SHAPE(5), NN_GAUSSIAN);
    (void)nn_buffer(n.model, "bn.running_mean", AG_SHAPE(5), NN_GAUSSIAN);
    (void)nn_buffer(n.model, "bn.running_var", AG_SHAPE(5), NN_ONES);
    (void)nn_buffer(n.model, "bn.num_batches_tracked", (ag_shape){.rank = 0}, NN_ZEROS);
    (void)nn_dense_init(n.model, "fc2", 5, 2, (nn_dense_options){.no_bias = true});
    return n;
}

/* What PyTorch saved gives PyTorch's outputs. */
static void from_torch(void **unused) {
    (void)unused;
    nn_error e = {0};
    net n = open_torch_net(1);
    assert_int_equal(
        nn_model_load(n.model, saved_file("torch/weights.safetensors"), (nn_load_options){.lenient = true}, &e), 8);
    assert_true(ag_value(nn_buffer_find(n.model, "bn.num_batches_tracked")) == 7);
    nn_safetensors f = nn_safetensors_open(saved_file("torch/weights.safetensors"), &e);
    nn_array x = nn_safetensors_read(&f, "x", &e), y = nn_safetensors_read(&f, "y", &e);
    assert_fine(&e);
    float got[8];
    ag_read_f32(torch_net(&n, x.data), got);
    assert_int_equal(ag_tape_status(n.tape), AG_OK);
    for (int i = 0; i < 8; i++) assert_true(fabs(nn_array_at(&y, i) - (double)got[i]) <= 1e-6);
    nn_safetensors_close(&f);
    nn_array_free(&x), nn_array_free(&y);
    close_net(&n);
}

/* PyTorch takes what was saved, name by name, and gives the same outputs. */
static void to_torch(void **unused) {
    (void)unused;
    if (system("/usr/bin/python3 -c 'import torch' 2>/dev/null") != 0) {
        print_message("skipped: there is no PyTorch (python3-torch)\n");
        skip();
    }
    nn_error e = {0};
    char command[3 * PATH_ROOM];
    net n = open_torch_net(1);
    float x[12], y[8];
    for (int i = 0; i < 12; i++) x[i] = (float)sin(i);
    ag_set(nn_buffer_find(n.model, "bn.num_batches_tracked"), &(const double){7});
    ag_read_f32(torch_net(&n, x), y);
    nn_model_save(n.model, temporary("w"), &e);
    nn_safetensors f = nn_safetensors_open(temporary("w"), &e); /* the same file with x and y */
    nn_tensor all[10] = {{"x", NN_F32, {2, {4, 3}}, x}, {"y", NN_F32, {2, {4, 2}}, y}};
    assert_int_equal(f.count, 8);
    memcpy(all + 2, f.tensors, 8 * sizeof *all);
    nn_safetensors_write(temporary("t"), all, 10, NULL, 0, &e);
    assert_fine(&e);
    (void)snprintf(command, sizeof command, "/usr/bin/python3 %s --check ", saved_file("torch/weights.py"));
    (void)strcat(strcat(command, temporary("t")), " >/dev/null");
    assert_int_equal(system(command), 0);
    nn_safetensors_close(&f);
    assert_int_equal(unlink(temporary("w")) | unlink(temporary("t")), 0);
    close_net(&n);
}

/* ---- memory ---- */

static net kept;

static void save_and_load(nn_error *e) {
    const nn_renaming renamings[] = {{"fc", "fc"}};
    nn_model_save(kept.model, temporary("w"), e);
    (void)nn_model_load(kept.model, temporary("w"), (nn_load_options){false, renamings, 1}, e);
    (void)unlink(temporary("w"));
}

static void refused_memory(void **unused) {
    (void)unused;
    kept = open_net(AG_F32, 1);
    refuse_each_allocation(save_and_load);
    close_net(&kept);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(there_and_back), cmocka_unit_test(other_types),
                                       cmocka_unit_test(misfits),        cmocka_unit_test(files_and_models),
                                       cmocka_unit_test(other_names),    cmocka_unit_test(from_torch),
                                       cmocka_unit_test(to_torch),       cmocka_unit_test(refused_memory)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
