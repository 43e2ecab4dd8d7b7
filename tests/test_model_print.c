/* A model as a table, as a picture, and as C that gives the same numbers without any library. */
#include "comma_locale.h"
#include "data_files.h"
#include "folder.h"

#include <math.h>

#include "nn/nn.h"

/* A net whose evaluation differs from its training; two fields, two outputs. */
typedef struct net {
    ag_tape *tape;
    nn_model *model;
    int inputs;
    nn_dense first, second;
    ag_var mean, scale;
} net;

static net open_net(ag_type type, int inputs, int hidden) {
    net n = {.tape = ag_tape_new(type), .inputs = inputs};
    n.model = nn_model_new(n.tape, 1);
    n.first = nn_dense_init(n.model, "block.0.fc", inputs, hidden, (nn_dense_options){0});
    n.mean = nn_buffer(n.model, "block.0.fc.mean", AG_SHAPE(hidden), NN_GAUSSIAN);
    n.second = nn_dense_init(n.model, "head", hidden, 10, (nn_dense_options){.no_bias = true});
    n.scale = nn_parameter(n.model, "scale", (ag_shape){.rank = 0}, NN_ONES);
    (void)nn_buffer(n.model, "steps", (ag_shape){.rank = 0}, NN_ZEROS);
    return n;
}

static void close_net(net *n) {
    nn_model_free(n->model);
    ag_tape_free(n->tape);
}

static void forward(void *context, const ag_var *batch, ag_var *out) {
    net *n = context;
    ag_var h = ag_silu(nn_dense_apply(n->first, batch[0]));
    if (nn_model_training(n->model)) {
        nn_model_update(n->model, n->mean, ag_mean_over(h, AG_AXES(0), false));
        h = ag_mul(h, nn_model_clock(n->model));
    } else {
        h = ag_sub(h, n->mean);
    }
    out[1] = ag_add(ag_mul(nn_dense_apply(n->second, h), n->scale), batch[1]);
    out[0] = ag_softmax(out[1], -1);
}

/* ---- table, picture ---- */

static char *written(FILE *f) {
    static char text[1 << 16];
    rewind(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    assert_int_equal(fclose(f), 0);
    return text;
}

static void table(void **unused) {
    (void)unused;
    net n = open_net(AG_F32, 784, 256);
    FILE *f = tmpfile();
    nn_model_summary(n.model, f);
    assert_string_equal(written(f), "layer       name    shape              numbers           bytes\n"
                                    "block.0.fc  weight  (256, 784)         200,704         802,816\n"
                                    "            bias    (256)                  256           1,024\n"
                                    "            mean    (256)                  256           1,024  buffer\n"
                                    "head        weight  (10, 256)            2,560          10,240\n"
                                    "scale               ()                       1               4\n"
                                    "steps               ()                       1               4  buffer\n"
                                    "trained                                203,521         814,084\n"
                                    "buffers                                    257           1,028\n");
    close_net(&n);
    n = open_net(AG_F64, 1, 1);
    f = tmpfile();
    nn_model_summary(n.model, f);
    assert_non_null(strstr(written(f), " 13             104\n"));
    ag_fail(n.tape, AG_ERR_VALUE, "broken");
    f = tmpfile();
    nn_model_summary(n.model, f);
    nn_model_summary(NULL, f);
    assert_string_equal(written(f), "");
    close_net(&n);
}

static void picture(void **unused) {
    (void)unused;
    nn_error e = {0};
    net n = open_net(AG_F32, 3, 2);
    nn_array fields[] = {nn_array_new(NN_U8, AG_SHAPE(2, 3), &e), nn_array_new(NN_F64, AG_SHAPE(2, 10), &e)};
    FILE *f = tmpfile();
    nn_model_draw(n.model, forward, &n, fields, 2, f, &e);
    assert_fine(&e);
    const char *text = written(f);
    assert_non_null(strstr(text, "digraph"));
    assert_non_null(strstr(text, "block.0.fc.weight"));
    assert_non_null(strstr(text, "field 1"));
    assert_non_null(strstr(text, "softmax"));
    assert_true(nn_model_training(n.model) && ag_tape_status(n.tape) == AG_OK);
    assert_true(ag_is_zero(nn_buffer_update_at(n.model, 0)));
    fields[1].shape.dim[0] = 1, fields[1].shape.dim[1] = 20;
    f = tmpfile();
    nn_model_draw(n.model, forward, &n, fields, 2, f, &e);
    assert_error(&e, AG_ERR_SHAPE, "(2, 10)");
    nn_model_draw(n.model, forward, &n, fields, 0, f, &e);
    assert_error(&e, AG_ERR_VALUE, "0 inputs and 1 outputs");
    nn_model_draw(n.model, NULL, &n, fields, 2, f, &e);
    assert_error(&e, AG_ERR_VALUE, "there is no function");
    assert_string_equal(written(f), "");
    assert_true(ag_tape_status(n.tape) == AG_OK);
    nn_array_free(&fields[0]), nn_array_free(&fields[1]);
    close_net(&n);
}

/* ---- C ---- */

static double input(int64_t i) { return sin(0.37 * (double)i); }

/* A program around the printed function: prints all outputs. */
static void write_main(FILE *f, const char *type, int in, int out, int64_t work) {
    fprintf(f, "#include <stdio.h>\nstatic %s image[%d], shift[%d], p[%d], logits[%d], work[%ld];\n", type, in, out,
            out, out, (long)work + 1);
    fprintf(f, "int main(void) {\n(void)work;\n");
    fprintf(f, "for (int i = 0; i < %d; i++) image[i] = (%s)sin(0.37 * i);\n", in, type);
    fprintf(f, "for (int i = 0; i < %d; i++) shift[i] = (%s)sin(0.37 * i);\n", out, type);
    fprintf(f, "digits(image, shift, p, logits%s);\n", work > 0 ? ", work" : "");
    fprintf(f, "for (int i = 0; i < %d; i++) printf(\"%%.17g %%.17g\\n\", (double)p[i], (double)logits[i]);\n", out);
    fprintf(f, "return 0;\n}\n");
}

/* The model's own outputs for the same batch. */
static void right_outputs(net *n, int batch, double *p, double *logits) {
    nn_error e = {0};
    nn_array fields[] = {nn_array_new(NN_F64, AG_SHAPE(batch, n->inputs), &e),
                         nn_array_new(NN_F64, AG_SHAPE(batch, 10), &e)};
    for (int k = 0; k < 2; k++)
        for (int64_t i = 0; i < nn_array_count(&fields[k]); i++) ((double *)fields[k].data)[i] = input(i);
    assert_fine(&e);
    ag_var vars[2], out[2];
    ag_mark mark = ag_tape_mark(n->tape);
    for (int k = 0; k < 2; k++) vars[k] = ag_tensor(n->tape, fields[k].data, fields[k].shape);
    nn_model_train(n->model, false);
    forward(n, vars, out);
    nn_model_train(n->model, true);
    ag_read(out[0], p);
    ag_read(out[1], logits);
    assert_int_equal(ag_tape_status(n->tape), AG_OK);
    ag_tape_rewind(n->tape, mark);
    nn_array_free(&fields[0]), nn_array_free(&fields[1]);
}

/* Compiles what was printed without warnings, and runs it: no library but the C library's mathematics. */
static void run(const char *compiler_name, net *n, int batch) {
    char command[600];
    double *p = calloc((size_t)batch * 10, sizeof *p), *logits = calloc((size_t)batch * 10, sizeof *logits);
    (void)snprintf(command, sizeof command,
                   "%s -std=c11 -Wall -Wextra -Wpedantic -Wshadow -Werror -O1 %s/m.c -o %s/m -lm && %s/m > %s/out",
                   compiler_name, folder, folder, folder, folder);
    assert_int_equal(system(command), 0);
    (void)snprintf(command, sizeof command, "%s/out", folder);
    FILE *f = fopen(command, "r");
    right_outputs(n, batch, p, logits);
    double most = ag_tape_type(n->tape) == AG_F64 ? 1e-13 : 1e-5;
    for (int i = 0; i < batch * 10; i++) {
        double a, b;
        assert_int_equal(fscanf(f, "%lf %lf", &a, &b), 2);
        if (!(fabs(a - p[i]) <= most * fmax(1, fabs(p[i]))) ||
            !(fabs(b - logits[i]) <= most * fmax(1, fabs(logits[i]))))
            fail_msg("output %d: %.17g and %.17g, not %.17g and %.17g", i, a, b, p[i], logits[i]);
    }
    assert_int_equal(fclose(f), 0);
    free(p), free(logits);
}

/* -0.25 must not become -0,25, two numbers. */
static void another_locale(void **unused) {
    (void)unused;
    choose_comma_locale();
    char texts[2][1 << 14] = {"", ""};
    nn_error e = {0};
    net n = open_net(AG_F32, 3, 2);
    ag_port inputs[] = {ag_in("image", AG_SHAPE(1, 3)), ag_in("shift", AG_SHAPE(1, 10))};
    for (int k = 0; k < 2; k++) {
        FILE *f = tmpfile();
        (void)nn_model_print_c(n.model, forward, &n, (nn_c_options){.inputs = inputs, .input_count = 2}, f, &e);
        (void)snprintf(texts[k], sizeof texts[k], "%s", written(f));
        (void)setlocale(LC_ALL, "C");
    }
    assert_fine(&e);
    close_net(&n);
    assert_string_equal(texts[0], texts[1]);
}

/* The same of what is for a reader: 0.25 and 1.5 are numbers of all three. */
static void quarter(void *context, const ag_var *batch, ag_var *out) {
    (void)context;
    out[0] = ag_mul(ag_add(ag_sin(batch[0]), 0.25), 1.5);
}

static void quarter_of_program(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t;
    quarter(context, x, y);
}

static void drawings_in_another_locale(void **unused) {
    (void)unused;
    choose_comma_locale();
    char texts[3][1 << 14] = {"", "", ""};
    double x = 0;
    nn_error e = {0};
    nn_array field = {NN_F64, {.rank = 0}, &x};
    const ag_port in[] = {ag_in("x", (ag_shape){0})};
    ag_program *p = ag_program_trace(AG_F64, quarter_of_program, NULL, in, 1, NULL, 1);
    ag_tape *t = ag_tape_new(AG_F64);
    nn_model *model = nn_model_new(t, 1);
    for (int k = 0; k < 3; k++) {
        FILE *f = tmpfile();
        if (k == 0) nn_model_draw(model, quarter, NULL, &field, 1, f, &e);
        else if (k == 1) ag_program_dot(p, f);
        else ag_program_list(p, f);
        (void)snprintf(texts[k], sizeof texts[k], "%s", written(f));
    }
    (void)setlocale(LC_ALL, "C");
    assert_fine(&e);
    for (int k = 0; k < 3; k++)
        if (!strstr(texts[k], "0.25") || !strstr(texts[k], "1.5")) fail_msg("%s", texts[k]);
    nn_model_free(model);
    ag_tape_free(t);
    ag_program_free(p);
}

static void same_numbers(void **unused) {
    (void)unused;
    static const struct {
        ag_type type;
        int inputs, hidden, batch;
    } cases[] = {{AG_F32, 784, 140, 1}, {AG_F32, 12, 7, 3}, {AG_F64, 30, 50, 64}};
    static const char *const outputs[] = {"p", "logits"};
    if (!have_compiler) return;
    for (int k = 0; k < 3; k++) {
        nn_error e = {0};
        char path[64];
        net n = open_net(cases[k].type, cases[k].inputs, cases[k].hidden);
        int batch = cases[k].batch;
        ag_port inputs[] = {ag_in("image", AG_SHAPE(batch, cases[k].inputs)), ag_in("shift", AG_SHAPE(batch, 10))};
        (void)snprintf(path, sizeof path, "%s/m.c", folder);
        FILE *f = fopen(path, "w");
        int64_t work = nn_model_print_c(
            n.model, forward, &n,
            (nn_c_options){.name = "digits", .inputs = inputs, .input_count = 2, .outputs = outputs, .output_count = 2},
            f, &e);
        assert_fine(&e);
        if (k == 0) assert_in_range(ftell(f), 1, 16 * nn_model_size(n.model) + 10000);
        assert_true((work > 0) == (k == 2));
        assert_true(nn_model_training(n.model) && ag_tape_status(n.tape) == AG_OK);
        write_main(f, cases[k].type == AG_F64 ? "double" : "float", batch * cases[k].inputs, batch * 10, work);
        assert_int_equal(fclose(f), 0);
        run(compiler(), &n, batch);
        if (k > 0 && system("command -v clang >/dev/null") == 0) run("clang", &n, batch);
        close_net(&n);
    }
}

/* ---- C of other layers ---- */

typedef enum layers_kind { IMAGES, STRIDES, LSTM, GRU, LAYERS_KINDS } layers_kind;

typedef struct layers {
    layers_kind kind;
    nn_sequential *list;
    nn_recurrent recurrent;
} layers;

static ag_shape input_shape(layers_kind kind, int batch) {
    return kind == IMAGES    ? AG_SHAPE(batch, 1, 9, 8)
           : kind == STRIDES ? AG_SHAPE(batch, 4, 7, 10)
                             : AG_SHAPE(batch, 6, 3);
}

static layers open_layers(nn_model *model, layers_kind kind) {
    layers l = {kind, nn_sequential_new(model, "net"), {0}};
    const nn_dense_options none = {0};
    const nn_recurrent_options both = {.layers = 2, .bidirectional = kind == LSTM, .batch_first = true, .unroll = -1};
    if (kind == IMAGES) {
        nn_sequential_conv(l.list, NN_CONV2D, 1, 3, 3, 3, (nn_conv_options){.padding = {1, 1}});
        nn_sequential_activation(l.list, NN_RELU);
        nn_sequential_max_pool2d(l.list, (ag_pool_options){.kernel = {2, 2}});
        nn_sequential_conv(l.list, NN_CONV2D, 3, 5, 2, 3, (nn_conv_options){0});
        nn_sequential_batch_norm(l.list, 5, (nn_batch_norm_options){0});
        nn_sequential_activation(l.list, NN_RELU);
    } else if (kind == STRIDES) {
        nn_sequential_conv(l.list, NN_CONV2D, 4, 6, 3, 3, (nn_conv_options){.stride = {1, 2}, .groups = 2});
        nn_sequential_activation(l.list, NN_RELU);
        nn_sequential_max_pool2d(l.list, (ag_pool_options){.kernel = {3, 3}, .stride = {2, 1}, .padding = {1, 1}});
        nn_sequential_conv(l.list, NN_CONV_TRANSPOSE2D, 6, 2, 2, 2, (nn_conv_options){.stride = {2, 2}});
        nn_sequential_avg_pool2d(l.list, (ag_pool_options){.kernel = {2, 3}, .padding = {1, 1}});
    } else {
        l.recurrent = nn_recurrent_init(model, kind == LSTM ? NN_LSTM : NN_GRU, "net.cells", 3, 5, both);
    }
    nn_sequential_flatten(l.list);
    nn_sequential_dense(l.list,
                        kind == IMAGES    ? 3 * 2 * 5
                        : kind == STRIDES ? 2 * 4 * 3
                        : kind == LSTM    ? 60
                                          : 30,
                        4, none);
    return l;
}

static void forward_layers(void *context, const ag_var *batch, ag_var *out) {
    const layers *l = context;
    ag_var x = batch[0];
    if (l->kind >= LSTM) x = nn_recurrent_apply(&l->recurrent, x, (nn_recurrent_state){ag_num(0), ag_num(0)}, NULL);
    out[0] = nn_sequential_apply(l->list, x);
}

static void print_layers(nn_model *model, layers *l, int batch) {
    nn_error e = {0};
    char path[64];
    bool single = ag_tape_type(nn_model_tape(model)) == AG_F32;
    const ag_port in = ag_in("x", input_shape(l->kind, batch));
    int count = 1;
    for (int k = 0; k < in.shape.rank; k++) count *= (int)in.shape.dim[k];
    (void)snprintf(path, sizeof path, "%s/m.c", folder);
    FILE *f = fopen(path, "w");
    int64_t work = nn_model_print_c(model, forward_layers, l,
                                    (nn_c_options){.name = "net", .inputs = &in, .input_count = 1}, f, &e);
    assert_fine(&e);
    fprintf(f, "#include <stdio.h>\nstatic %s x[%d], y[%d], work[%ld];\n", single ? "float" : "double", count,
            4 * batch, (long)work + 1);
    fprintf(f, "int main(void) {\n(void)work;\nfor (int i = 0; i < %d; i++) x[i] = (%s)sin(0.37 * i);\n", count,
            single ? "float" : "double");
    fprintf(f, "net(x, y%s);\n", work > 0 ? ", work" : "");
    fprintf(f, "for (int i = 0; i < %d; i++) printf(\"%%.17g\\n\", (double)y[i]);\nreturn 0;\n}\n", 4 * batch);
    assert_int_equal(fclose(f), 0);
}

static void check_layers(const char *compiler_name, nn_model *model, layers *l, int batch) {
    ag_tape *t = nn_model_tape(model);
    char command[600];
    double x[1024], want[64], got;
    (void)snprintf(command, sizeof command,
                   "%s -std=c11 -Wall -Wextra -Wpedantic -Wshadow -Werror -O1 %s/m.c -o %s/m -lm && %s/m > %s/out",
                   compiler_name, folder, folder, folder, folder);
    assert_int_equal(system(command), 0);
    for (int i = 0; i < 1024; i++) x[i] = input(i);
    ag_var batch_var = ag_tensor(t, x, input_shape(l->kind, batch)), y;
    nn_model_train(model, false);
    forward_layers(l, &batch_var, &y);
    nn_model_train(model, true);
    assert_int_equal(ag_tape_status(t), AG_OK);
    ag_read(y, want);
    (void)snprintf(command, sizeof command, "%s/out", folder);
    FILE *f = fopen(command, "r");
    double most = ag_tape_type(t) == AG_F64 ? 1e-13 : 1e-5;
    for (int i = 0; i < 4 * batch; i++) {
        assert_int_equal(fscanf(f, "%lf", &got), 1);
        if (!(fabs(got - want[i]) <= most * fmax(1, fabs(want[i]))))
            fail_msg("kind %d, output %d: %.17g, not %.17g", (int)l->kind, i, got, want[i]);
    }
    assert_int_equal(fclose(f), 0);
}

/* Convolutions, pooling, recurrent layers: what is printed gives the model's numbers. */
static void other_layers(void **unused) {
    (void)unused;
    for (int k = 0; have_compiler && k < 2 * LAYERS_KINDS; k++) {
        ag_tape *t = ag_tape_new(k % 2 ? AG_F64 : AG_F32);
        nn_model *model = nn_model_new(t, 3);
        layers l = open_layers(model, (layers_kind)(k / 2));
        int batch = 1 + k % 2;
        print_layers(model, &l, batch);
        check_layers(compiler(), model, &l, batch);
        nn_model_free(model);
        ag_tape_free(t);
    }
}

static void plain_forward(void *context, const ag_var *batch, ag_var *out) {
    (void)context, (void)batch;
    out[0] = ag_num(3);
}
static void wrong_forward(void *context, const ag_var *batch, ag_var *out) {
    (void)context;
    out[0] = ag_add(batch[0], ag_constant_tensor(ag_tape_of(batch[0]), (const double[]){1, 2, 3}, AG_SHAPE(3)));
}

static void wrong_use(void **unused) {
    (void)unused;
    nn_error e = {0};
    net n = open_net(AG_F32, 3, 2);
    ag_port in = ag_in("x", AG_SHAPE(1, 2)), bad = ag_in("x", AG_SHAPE(1, -2));
    nn_c_options o = {.inputs = &in, .input_count = 1};
    FILE *f = tmpfile();
    (void)nn_model_print_c(n.model, wrong_forward, NULL, o, f, &e);
    assert_error(&e, AG_ERR_SHAPE, "(3)");
    (void)nn_model_print_c(n.model, wrong_forward, NULL, (nn_c_options){.inputs = &bad, .input_count = 1}, f, &e);
    assert_error(&e, AG_ERR_SHAPE, "-2");
    (void)nn_model_print_c(n.model, wrong_forward, NULL, (nn_c_options){0}, f, &e);
    assert_error(&e, AG_ERR_VALUE, "0 inputs and 1 outputs, not 1 to");
    (void)nn_model_print_c(NULL, wrong_forward, NULL, o, f, &e);
    assert_error(&e, AG_ERR_VALUE, "there is no model");
    assert_true(ag_tape_status(n.tape) == AG_OK && nn_model_training(n.model));
    assert_int_equal(ftell(f), 0);
    assert_int_equal(nn_model_print_c(n.model, plain_forward, NULL, o, f, &e), 0);
    assert_fine(&e);
    assert_non_null(strstr(written(f), "void model(const float *x, float *restrict y"));
    f = fopen("/dev/full", "w");
    if (f != NULL) {
        setbuf(f, NULL);
        (void)nn_model_print_c(n.model, plain_forward, NULL, o, f, &e);
        assert_error(&e, AG_ERR_FILE, "could not be written");
        (void)fclose(f);
    }
    ag_fail(n.tape, AG_ERR_VALUE, "broken");
    (void)nn_model_print_c(n.model, plain_forward, NULL, o, NULL, &e);
    assert_error(&e, AG_ERR_VALUE, "broken");
    assert_true(ag_tape_status(n.tape) == AG_ERR_VALUE);
    close_net(&n);
}

/* ---- memory ---- */

static net kept;
static void print_and_draw(nn_error *e) {
    ag_port inputs[] = {ag_in("image", AG_SHAPE(1, 3)), ag_in("shift", AG_SHAPE(1, 10))};
    FILE *f = tmpfile();
    (void)nn_model_print_c(kept.model, forward, &kept, (nn_c_options){.inputs = inputs, .input_count = 2}, f, e);
    nn_array x = nn_array_new(NN_F32, AG_SHAPE(1, 3), e), shift = nn_array_new(NN_F32, AG_SHAPE(1, 10), e);
    nn_model_draw(kept.model, forward, &kept, (const nn_array[]){x, shift}, 2, f, e);
    nn_array_free(&x), nn_array_free(&shift);
    (void)fclose(f);
}

static void refused_memory(void **unused) {
    (void)unused;
    kept = open_net(AG_F32, 3, 2);
    refuse_each_allocation(print_and_draw);
    close_net(&kept);
}

/* The tape's memory: all of it that is asked for while printing. */
static int64_t permitted, asked;
static bool permit(void *context, size_t bytes) {
    (void)context, (void)bytes;
    return ++asked <= permitted;
}

static void refused_tape_memory(void **unused) {
    (void)unused;
    int failures = 0;
    for (int n = 0;; n++) {
        nn_error e = {0};
        permitted = INT64_MAX;
        ag_tape *t = ag_tape_new_with(&(ag_options){.type = AG_F32, .permit = permit, .no_reserve = true});
        nn_model *model = nn_model_new(t, 1);
        nn_dense d = nn_dense_init(model, "d", 40, 30, (nn_dense_options){0});
        net own = {
            .tape = t, .model = model, .first = d, .second = nn_dense_init(model, "e", 30, 10, (nn_dense_options){0})};
        own.mean = nn_buffer(model, "m", AG_SHAPE(30), NN_ZEROS), own.scale = ag_num(1);
        assert_int_equal(ag_tape_status(t), AG_OK);
        ag_port inputs[] = {ag_in("image", AG_SHAPE(1, 40)), ag_in("shift", AG_SHAPE(1, 10))};
        FILE *f = tmpfile();
        asked = 0, permitted = n;
        (void)nn_model_print_c(model, forward, &own, (nn_c_options){.inputs = inputs, .input_count = 2}, f, &e);
        (void)fclose(f);
        bool fine = e.status == AG_OK;
        if (!fine) assert_error(&e, AG_ERR_MEMORY, "memory");
        permitted = INT64_MAX;
        nn_model_free(model);
        ag_tape_free(t);
        if (fine) break;
        failures++;
    }
    assert_in_range(failures, 10, 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(table),
                                       cmocka_unit_test(picture),
                                       cmocka_unit_test(same_numbers),
                                       cmocka_unit_test(another_locale),
                                       cmocka_unit_test(drawings_in_another_locale),
                                       cmocka_unit_test(other_layers),
                                       cmocka_unit_test(wrong_use),
                                       cmocka_unit_test(refused_memory),
                                       cmocka_unit_test(refused_tape_memory)};
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
