/* Programs as values: recording, freezing, ports, constants, errors, references, calls, runners. */
#include "programs.h"

#include <autograd/program/program_impl.h>

/* ---- recording ---- */

static void two_outputs(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t;
    y[0] = ag_sum(ag_mul(ag_sin(x[0]), x[1]));
    y[1] = ag_mul(x[0], *(double *)context);
}

static void names_and_shapes(void **unused) {
    (void)unused;
    double factor = 3;
    const ag_port in[2] = {{"angle", AG_SHAPE(2, 3), NULL}, {NULL, {0}, NULL}}, out[2] = {{.name = "sum"}, {0}};
    for (int type = 0; type < 2; type++) {
        ag_program *p = ag_program_trace((ag_type)type, two_outputs, &factor, in, 2, out, 2);
        factor = 4; /* what was recorded is recorded */
        program_fine_("trace", p);
        assert_int_equal(ag_program_type(p), type);
        assert_int_equal(ag_program_inputs(p), 2);
        assert_int_equal(ag_program_outputs(p), 2);
        assert_string_equal(ag_program_input(p, 0).name, "angle");
        assert_string_equal(ag_program_input(p, 1).name, "x1");
        assert_string_equal(ag_program_output(p, 0).name, "sum");
        assert_string_equal(ag_program_output(p, 1).name, "y1");
        assert_int_equal(ag_program_input(p, 0).shape.rank, 2);
        assert_int_equal(ag_program_input(p, 0).shape.dim[1], 3);
        assert_int_equal(ag_program_output(p, 0).shape.rank, 0);
        assert_int_equal(ag_program_output(p, 1).shape.dim[0], 2);
        assert_null(ag_program_input(p, 2).name);
        assert_null(ag_program_input(p, -1).name);
        assert_null(ag_program_output(p, 2).name);
        double x[7] = {0, 1, 2, 3, 4, 5, 2}, y[7];
        run_once(p, x, y);
        assert_true(number_error(y[0], 2 * (sin(1) + sin(2) + sin(3) + sin(4) + sin(5))) < (type ? 1e-6 : 1e-15));
        assert_true(y[6] == (type == 0 ? 15 : 20));
        ag_program *d = ag_program_hvp(p, (int[]){1}, 1), *v = ag_program_vjp(p, NULL, 0),
                   *j = ag_program_jvp(p, NULL, 0);
        assert_string_equal(ag_program_input(d, 2).name, "v_x1");
        assert_string_equal(ag_program_output(d, 0).name, "d_x1");
        assert_string_equal(ag_program_output(d, 1).name, "h_x1");
        assert_string_equal(ag_program_input(v, 3).name, "w_y1");
        assert_string_equal(ag_program_output(v, 2).name, "d_angle");
        assert_string_equal(ag_program_input(j, 2).name, "v_angle");
        assert_string_equal(ag_program_output(j, 2).name, "d_sum");
        ag_program_free(d);
        ag_program_free(v);
        ag_program_free(j);
        ag_program_free(p);
    }
}

/* ---- names that are there twice ---- */

static void product(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_mul(ag_mul(x[0], x[1]), x[1]);
    y[1] = ag_add(x[0], x[1]);
}

static void assert_message(ag_program *p, const char *message) {
    assert_int_equal(ag_program_status(p), AG_ERR_VALUE);
    assert_string_equal(ag_program_message(p), message);
    ag_program_free(p);
}

static void given_twice(void **unused) {
    (void)unused;
    ag_port in[] = {ag_in("a", (ag_shape){0}), ag_in("a", (ag_shape){0})}, out[] = {ag_out("y"), ag_out("y")};
    assert_message(ag_program_trace(AG_F64, product, NULL, in, 2, NULL, 2),
                   "trace: inputs 0 and 1 are both called \"a\"");
    in[0].name = "y"; /* an input may be called like an output */
    assert_message(ag_program_trace(AG_F64, product, NULL, in, 2, out, 2),
                   "trace: outputs 0 and 1 are both called \"y\"");
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x[] = {ag_input(t, 1), ag_input(t, 2)}, y[] = {ag_add(x[0], x[1]), ag_mul(x[0], x[1])};
    assert_message(ag_program_freeze(x, (const char *[]){"a", "a"}, 2, y, NULL, 2),
                   "freeze: inputs 0 and 1 are both called \"a\"");
    assert_message(ag_program_freeze(x, NULL, 2, y, (const char *[]){"", ""}, 2),
                   "freeze: outputs 0 and 1 are both called \"\"");
    ag_tape_free(t);
}

static void assert_outputs(ag_program *p, const char *const *names) {
    program_fine_("transformation", p);
    for (int k = 0; k < ag_program_outputs(p); k++) assert_string_equal(ag_program_output(p, k).name, names[k]);
    ag_program_free(p);
}

static void made_twice(void **unused) {
    (void)unused;
    ag_port in[] = {ag_in(NULL, (ag_shape){0}), ag_in("x0", (ag_shape){0})}, out[] = {ag_out("d_x0"), ag_out("y0")};
    ag_program *p = ag_program_trace(AG_F64, product, NULL, in, 2, out, 2);
    program_fine_("trace", p);
    assert_string_equal(ag_program_input(p, 0).name, "x0_2");
    assert_string_equal(ag_program_input(p, 1).name, "x0");
    assert_outputs(ag_program_select(p, (int[]){1, 0, 1, 1}, 4), (const char *[]){"y0", "d_x0", "y0_2", "y0_3"});
    ag_program *g = ag_program_gradient(p, (int[]){1, 1, 0}, 3), *j = ag_program_jvp(p, NULL, 0);
    assert_outputs(ag_program_gradient(g, (int[]){1}, 1),
                   (const char *[]){"d_x0", "y0", "d_x0_3", "d_x0_4", "d_x0_2", "d_x0_5"});
    ag_program *twice = ag_program_jvp(j, NULL, 0);
    program_fine_("jvp", twice);
    for (int k = 0; k < ag_program_inputs(twice); k++)
        for (int i = 0; i < k; i++)
            assert_string_not_equal(ag_program_input(twice, k).name, ag_program_input(twice, i).name);
    ag_program_free(twice);
    ag_program_free(j);
    ag_program_free(g);
    ag_program_free(p);
}

/* y_50 is there already; the work is proportional to the number of names. */
static void made_many_times(void **unused) {
    (void)unused;
    enum { MANY = 50000, TAKEN = 50 };
    const ag_port in[] = {ag_in("a", (ag_shape){0}), ag_in("b", (ag_shape){0})}, out[] = {ag_out("y"), ag_out("y_50")};
    ag_program *p = ag_program_trace(AG_F64, product, NULL, in, 2, out, 2);
    int *chosen = calloc(MANY, sizeof *chosen);
    assert_non_null(chosen);
    chosen[MANY - 1] = 1;
    ag_program *q = ag_program_select(p, chosen, MANY);
    program_fine_("select", q);
    assert_string_equal(ag_program_output(q, 0).name, "y");
    for (int k = 1; k < MANY - 1; k++) {
        char name[16];
        snprintf(name, sizeof name, "y_%d", k + 1 < TAKEN ? k + 1 : k + 2);
        assert_string_equal(ag_program_output(q, k).name, name);
    }
    assert_string_equal(ag_program_output(q, MANY - 1).name, "y_50");
    free(chosen);
    ag_program_free(q);
    ag_program_free(p);
}

/* Outputs that are a number, a constant, an input, a view of one, the same twice; an input that is not used. */
static void odd_outputs(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)context;
    y[0] = ag_num(7);
    y[1] = ag_constant_tensor(t, (double[]){1, 2}, AG_SHAPE(2));
    y[2] = x[0];
    y[3] = ag_transpose(x[0]);
    y[4] = y[5] = ag_exp(x[0]);
    y[6] = ag_at(x[0], 4);
    y[7] = ag_expand(ag_index(x[0], 0, 1), AG_SHAPE(2, 3));
    y[8] = ag_full(t, 2.5, AG_SHAPE(2));
    /* y[9] stays the number 0 */
}

static void outputs_of_all_kinds(void **unused) {
    (void)unused;
    const ag_port in[2] = {{"x", AG_SHAPE(2, 3), NULL}, {"unused", AG_SHAPE(4), NULL}};
    ag_program *p = ag_program_trace(AG_F64, odd_outputs, NULL, in, 2, NULL, 10), *s = ag_program_scalars(p);
    const double x[10] = {1, 2, 3, 4, 5, 6},
                 want[] = {7,      1,      2,      1,      2,      3,      4,      5,      6,      1,
                           4,      2,      5,      3,      6,      exp(1), exp(2), exp(3), exp(4), exp(5),
                           exp(6), exp(1), exp(2), exp(3), exp(4), exp(5), exp(6), 5,      4,      5,
                           6,      4,      5,      6,      2.5,    2.5,    0};
    double y[64];
    assert_int_equal(ag_program_size(p), 1);
    assert_int_equal(port_total(p, true), sizeof want / sizeof *want);
    run_once(p, x, y);
    check_numbers("outputs", "run", y, want, sizeof want / sizeof *want, 1e-15);
    run_once(s, x, y);
    check_numbers("outputs", "scalars", y, want, sizeof want / sizeof *want, 1e-15);
    ag_program *v = ag_program_vjp(p, (int[]){1}, 1);
    program_fine_("vjp", v);
    double seeds[64] = {0};
    double all[64];
    run_once(v, seeds, all);
    for (int i = 0; i < 4; i++) assert_true(all[sizeof want / sizeof *want + (size_t)i] == 0);
    ag_program_free(v);
    ag_program_free(s);
    ag_program_free(p);
}

static void deep_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_add(ag_permute(x[0], AG_AXES(7, 6, 5, 4, 3, 2, 1, 0)), x[1]);
    y[1] = ag_sum_over(y[0], AG_AXES(0, 2, 4, 6), true);
}

static void eight_dims_and_none(void **unused) {
    (void)unused;
    const ag_port in[2] = {{"x", AG_SHAPE(2, 1, 2, 1, 1, 3, 1, 2), NULL},
                           {"y", AG_SHAPE(2, 1, 3, 1, 1, 2, 1, 2), NULL}};
    ag_program *p = ag_program_trace(AG_F64, deep_model, NULL, in, 2, NULL, 2), *g;
    double x[48], y[64], got[64];
    for (int i = 0; i < 48; i++) x[i] = i * 0.5 - 3;
    run_once(p, x, y);
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var v[2] = {ag_tensor(t, x, in[0].shape), ag_tensor(t, x + 24, in[1].shape)}, w[2];
    deep_model(t, v, w, NULL);
    ag_read(w[0], got);
    ag_read(w[1], got + 24);
    check_numbers("8 dims", "run", y, got, port_total(p, true), 1e-15);
    ag_program_free(p);
    const ag_port empty[2] = {{"x", AG_SHAPE(2, 0), NULL}, {"y", AG_SHAPE(0, 3), NULL}};
    p = ag_program_trace(AG_F64, two_outputs, &(double){2}, (ag_port[]){empty[0], {"s", {0}, NULL}}, 2, NULL, 2);
    g = ag_program_hvp(p, NULL, 0);
    program_fine_("empty", g);
    y[0] = y[1] = 5;
    run_once(g, (double[]){3, 1}, y);
    assert_true(y[0] == 0 && y[1] == 0); /* of the two that are not empty */
    ag_program *b = ag_program_batch(p, 3, NULL, NULL);
    program_fine_("empty batch", b);
    run_once(b, x, y);
    for (int i = 0; i < 3; i++) assert_true(y[i] == 0);
    ag_program_free(b);
    ag_program_free(g);
    ag_program_free(p);
    ag_tape_free(t);
}

/* Of a scalar by what has as many dims as there may be, and the other way about. */
static void to_and_from_a_scalar(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_sum(ag_square(x[0]));
    y[1] = ag_mul(x[0], ag_sin(x[1]));
}

static void jacobians_of_eight_dims(void **unused) {
    (void)unused;
    const ag_port in[2] = {{"x", AG_SHAPE(1, 1, 2, 1, 1, 1, 1, 2), NULL}, {"s", {0}, NULL}};
    const double x[5] = {1, 2, 3, 4, 0.5};
    ag_program *p = ag_program_trace(AG_F64, to_and_from_a_scalar, NULL, in, 2, NULL, 2);
    for (int k = 0; k < 2; k++) {
        ag_program *j = ag_program_jacobian(p, k, k);
        double y[9], want[4];
        program_fine_("jacobian", j);
        assert_int_equal(ag_program_output(j, 2).shape.rank, 8);
        run_once(j, x, y);
        for (int i = 0; i < 4; i++) want[i] = k ? x[i] * cos(0.5) : 2 * x[i];
        check_numbers("jacobian", "run", y + 5, want, 4, 1e-15);
        ag_program_free(j);
    }
    ag_program_free(p);
}

/* It is refused as a whole, not after as many derivatives as there is room for. */
static void a_jacobian_that_is_too_large(void **unused) {
    (void)unused;
    const ag_port in[2] = {{"x", AG_SHAPE(1 << 17), NULL}, {"s", {0}, NULL}};
    ag_program *p = ag_program_trace(AG_F64, to_and_from_a_scalar, NULL, in, 2, NULL, 2), *j;
    j = ag_program_jacobian(p, 1, 0);
    assert_int_equal(ag_program_status(j), AG_ERR_SLOTS);
    const char *want = "jacobian: out of slots: shape (131072, 131072) needs 17179869184, ";
    if (strncmp(ag_program_message(j), want, strlen(want)) != 0) fail_msg("%s", ag_program_message(j));
    ag_program_free(j);
    ag_program_free(p);
}

static void no_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)x, (void)y, (void)context;
}

static void nothing_at_all(void **unused) {
    (void)unused;
    for (int type = 0; type < 2; type++) {
        ag_program *p = ag_program_trace((ag_type)type, no_model, NULL, NULL, 0, NULL, 0);
        program_fine_("nothing", p);
        assert_int_equal(ag_program_type(p), type);
        assert_int_equal(ag_program_size(p), 0);
        ag_program *q = ag_program_vjp(p, NULL, 0);
        program_fine_("VJP of nothing", q);
        run_once(q, NULL, NULL);
        check_program_failure(ag_program_gradient(p, NULL, 0), AG_ERR_SHAPE,
                              "gradient: the first output is not a scalar, but of shape none; see ag_program_vjp and "
                              "ag_program_jacobian");
        ag_program_free(q);
        ag_program_free(p);
        p = ag_program_trace((ag_type)type, no_model, NULL, NULL, 0, NULL, 2); /* numbers only */
        double y[2] = {1, 1};
        run_once(p, NULL, y);
        assert_true(y[0] == 0 && y[1] == 0);
        ag_program_free(p);
    }
}

/* ---- values while recording ---- */

static void branch_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    double *seen = context;
    *seen = ag_value(x[0]);
    ag_pause(t);
    ag_var c = ag_exp(x[0]);
    ag_resume(t);
    y[0] = ag_mul(x[0], ag_detach(x[0]));
    y[1] = ag_mul(x[0], c);
    y[2] = ag_mul(ag_sum(x[1]), ag_argmax(x[1], 0));
}

static void detach_pause_and_argmax(void **unused) {
    (void)unused;
    const double example[4] = {2, 1, 5, 3};
    for (int valued = 0; valued < 2; valued++) {
        ag_port in[2] = {{"x", {0}, valued ? example : NULL}, {"v", AG_SHAPE(3), valued ? example + 1 : NULL}};
        double seen = 0, y[16];
        ag_program *p = ag_program_trace(AG_F64, branch_model, &seen, in, 2, NULL, 3);
        assert_true(valued ? seen == 2 : isnan(seen));
        run_once(p, (double[]){3, 1, 2, 7}, y);
        check_numbers("detached", "value", y, (double[]){9, 3 * exp(3), 20}, 3, 1e-15);
        for (int k = 0; k < 3; k++) {
            ag_program *s = ag_program_select(p, &k, 1), *g = ag_program_gradient(s, NULL, 0),
                       *h = ag_program_hvp(s, NULL, 0);
            const double dx[3] = {3, exp(3), 0}, dv[3] = {0, 0, 2};
            run_once(g, (double[]){3, 1, 2, 7}, y);
            check_numbers("detached", "gradient", y + 1, (double[]){dx[k], dv[k], dv[k], dv[k]}, 4, 1e-15);
            run_once(h, (double[]){3, 1, 2, 7, 1, 1, 1, 1}, y);
            check_numbers("detached", "HVP", y + 4, (double[]){0, 0, 0, 0}, 4, 1e-15);
            ag_program_free(s);
            ag_program_free(g);
            ag_program_free(h);
        }
        ag_program_free(p);
    }
}

static void sweeping_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_square(x[0]);
    ag_backward(y[0]);
    y[1] = ag_mul(x[0], ag_grad(x[0]));
}

/* A sweep gives numbers: with values they are recorded as such, without there is none to be had. */
static void a_sweep_while_recording(void **unused) {
    (void)unused;
    double y[2];
    ag_program *p = ag_program_trace(AG_F64, sweeping_model, NULL, (ag_port[]){{.example = (double[]){3}}}, 1, NULL, 2);
    program_fine_("sweep", p);
    run_once(p, (double[]){2}, y);
    assert_true(y[0] == 4 && y[1] == 12);
    ag_program_free(p);
    p = ag_program_trace(AG_F64, sweeping_model, NULL, (ag_port[]){{0}}, 1, NULL, 2);
    if (ag_program_status(p) == AG_OK) {
        run_once(p, (double[]){2}, y);
        assert_true(isnan(y[1]));
    }
    ag_program_free(p);
}

/* ---- freezing ---- */

static void a_live_tape(void **unused) {
    (void)unused;
    for (int type = 0; type < 2; type++) {
        ag_tape *t = ag_tape_new((ag_type)type);
        ag_var c = ag_input(t, 2), m = ag_tensor(t, (double[]){1, 2, 3}, AG_SHAPE(3)), x = ag_input(t, 0.5);
        ag_var k = ag_square(c), w = ag_mul(m, 2), a = ag_mul(x, k), b = ag_mul(w, a),
               s = ag_sum(ag_reshape(b, AG_SHAPE(3, 1)));
        ag_set(c, (double[]){100}); /* what was computed from it keeps its value */
        ag_set(m, (double[]){9, 9, 9});
        ag_program *p = ag_program_freeze((ag_var[]){x}, (const char *const[]){"x"}, 1, (ag_var[]){s, b}, NULL, 2);
        program_fine_("freeze", p);
        double y[8];
        run_once(p, (double[]){1}, y);
        check_numbers("frozen", "value", y, (double[]){48, 8, 16, 24}, 4, 1e-15);
        assert_int_equal(ag_program_size(p), 3);
        ag_program_free(p);
        p = ag_program_freeze((ag_var[]){a, x}, NULL, 2, (ag_var[]){s, ag_mul(a, x)}, NULL,
                              2); /* a result as an input */
        run_once(p, (double[]){2, 10}, y);
        check_numbers("frozen at a result", "value", y, (double[]){24, 20}, 2, 1e-15);
        ag_program_free(p);
        p = ag_program_freeze((ag_var[]){ag_reshape(w, AG_SHAPE(3, 1))}, NULL, 1, &b, NULL,
                              1); /* a view of all of it */
        assert_int_equal(ag_program_input(p, 0).shape.rank, 2);
        run_once(p, (double[]){1, 2, 3}, y);
        check_numbers("frozen at a view", "value", y, (double[]){2, 4, 6}, 3, 1e-15);
        ag_program_free(p);
        assert_int_equal(ag_tape_status(t), AG_OK);
        check_program_failure(ag_program_freeze((ag_var[]){ag_slice(m, 0, 0, 2, 1)}, NULL, 1, &s, NULL, 1),
                              AG_ERR_VALUE, "freeze: input 0, of shape (2), is a part of a tensor, not all of it");
        ag_tape_recover(t);
        check_program_failure(ag_program_freeze((ag_var[]){x, x}, NULL, 2, &s, NULL, 1), AG_ERR_VALUE,
                              "freeze: input 1, of shape (), is the same as another");
        ag_tape_recover(t);
        ag_tape *other = ag_tape_new((ag_type)type);
        ag_var z = ag_input(other, 1);
        p = ag_program_freeze(&x, NULL, 1, &z, NULL, 1);
        assert_int_equal(ag_program_status(p), AG_ERR_TAPE);
        ag_program_free(p);
        ag_tape_free(other);
        ag_tape_free(t);
    }
    check_program_failure(ag_program_freeze(NULL, NULL, 0, NULL, NULL, 0), AG_ERR_VALUE,
                          "freeze: no input or output is a var of a tape");
    check_program_failure(ag_program_freeze(NULL, NULL, -1, NULL, NULL, 2), AG_ERR_VALUE,
                          "freeze: -1 inputs, 2 outputs, or an array of them that is NULL");
}

/* ---- what is shared and what is dead ---- */

static void repeating_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)context;
    ag_var dead = ag_exp(ag_sum(x[0])), a = ag_sin(ag_mul(x[0], 2)), b = ag_sin(ag_mul(2, x[0]));
    (void)ag_matmul(x[0], x[0]);
    (void)ag_pow(dead, 3);
    ag_var one = ag_constant_tensor(t, (double[]){1, 2, 3, 4}, AG_SHAPE(4));
    ag_var same = ag_constant_tensor(t, (double[]){1, 2, 3, 4}, AG_SHAPE(4));
    y[0] = ag_add(ag_mul(a, one), ag_mul(same, b));
    y[1] = ag_add(ag_softmax(a, 0), ag_softmax(b, 0));
}

static void common_and_dead(void **unused) {
    (void)unused;
    ag_program *p = ag_program_trace(AG_F64, repeating_model, NULL, (ag_port[]){{"x", AG_SHAPE(4), NULL}}, 1, NULL, 2);
    assert_int_equal(ag_program_size(p), 6); /* mul, sin, mul, add, softmax, add */
    ag_program_free(p);
}

/* Thousands of instructions of one operand, and of pairs of a few, are each found again, whatever was recorded since. */
static void crowded_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    ag_var once = ag_num(0), again = ag_num(0);
    for (int round = 0; round < 2; round++) {
        ag_var *sum = round ? &again : &once;
        for (int i = 0; i < 3000; i++) *sum = ag_add(*sum, ag_sin(ag_at(x[0], i)));
        for (int i = 0; i < 50; i++)
            for (int j = 0; j < 50; j++) *sum = ag_add(*sum, ag_div(ag_at(x[0], i), ag_at(x[0], j)));
    }
    y[0] = once;
    y[1] = again;
}

static void crowded(void **unused) {
    (void)unused;
    ag_program *p = ag_program_trace(AG_F64, crowded_model, NULL, (ag_port[]){{"x", AG_SHAPE(3000), NULL}}, 1, NULL, 2);
    program_fine_("trace", p);
    assert_int_equal(ag_program_size(p), 2 * (3000 + 2500));
    ag_program_free(p);
}

/* Weights as PyTorch has them, used transposed, and permuted as a whole: their gradient is made as it is stored. */
static void transposed_weights_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t;
    (void)context;
    ag_var in = ag_matmul(x[0], ag_transpose(x[1])), out = ag_mul(ag_permute(x[2], AG_AXES(2, 0, 1)), ag_exp(x[3]));
    y[0] = ag_add(ag_sum(ag_square(in)), ag_sum(out));
}

static void gradients_are_made_as_they_are_stored(void **unused) {
    (void)unused;
    ag_port inputs[] = {{"x", AG_SHAPE(3, 4), NULL},
                        {"w", AG_SHAPE(5, 4), NULL},
                        {"u", AG_SHAPE(2, 3, 4), NULL},
                        {"v", AG_SHAPE(4, 2, 3), NULL}};
    ag_program *p = ag_program_trace(AG_F64, transposed_weights_model, NULL, inputs, 4, NULL, 1);
    ag_program *g = ag_program_gradient(p, (int[]){1, 2}, 2);
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    program_fine_("gradient", g);
    ag_program_list(g, out);
    fclose(out);
    if (strstr(text, "assemble")) fail_msg("a gradient is copied:\n%s", text);
    free(text);
    ag_program_free(g);
    ag_program_free(p);
}

/* ---- errors ---- */

static void failing_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_matmul(x[0], x[0]);
}

static ag_program *failed_program(void) {
    return ag_program_trace(AG_F64, failing_model, NULL, (ag_port[]){{"x", AG_SHAPE(2, 3), NULL}}, 1, NULL, 1);
}

/* y = exp(x0) x1 keeps the exponential, and a product that is cheap to compute is not kept. */
static void exponential(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_mul(ag_exp(ag_mul(x[0], x[0])), x[1]);
}

static void kept_for_the_way_back(void **state) {
    (void)state;
    const ag_port in[] = {ag_in("x", AG_SHAPE(3)), ag_in("c", (ag_shape){0})};
    ag_program *p = ag_program_trace(AG_F64, exponential, NULL, in, 2, NULL, 1);
    program_fine_("trace", p);
    ag_program *back = ag_program_back(p, NULL, 0);
    assert_int_equal(ag_program_inputs(back), 4);
    assert_string_equal(ag_program_input(back, 2).name, "w_y0");
    assert_string_equal(ag_program_input(back, 3).name, "kept");
    assert_int_equal(ag_program_input(back, 3).shape.dim[0], 3);
    assert_outputs(back, (const char *[]){"d_x", "d_c"});
    assert_outputs(ag_program_forward(p, NULL, 0), (const char *[]){"y0", "kept"});
    check_program_failure(ag_program_forward(p, (int[]){2}, 1), AG_ERR_VALUE,
                          "derivative: there is no input 2: the program has 2");
    ag_program_free(p);
}

static void check_sticky(const ag_program *p, ag_status status, const char *sentence) {
    const int zero = 0;
    ag_program *all[] = {ag_program_gradient(p, NULL, 0), ag_program_vjp(p, &zero, 1),
                         ag_program_jvp(p, NULL, 0),      ag_program_forward(p, NULL, 0),
                         ag_program_back(p, &zero, 1),    ag_program_hvp(p, NULL, 0),
                         ag_program_jacobian(p, 0, 0),    ag_program_hessian(p, 0),
                         ag_program_select(p, &zero, 1),  ag_program_batch(p, 3, NULL, NULL)};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) check_program_failure(all[i], status, sentence);
    ag_runner *r = ag_runner_new(p);
    assert_string_equal(ag_runner_message(r), sentence);
    assert_int_equal(ag_run(r, NULL, NULL), status);
    assert_int_equal(ag_run_rows(r, 3, NULL, NULL), status);
    ag_runner_free(r);
    ag_tape *t = ag_tape_new(AG_F64);
    ag_program_call(t, p, NULL, NULL);
    assert_int_equal(ag_tape_status(t), status);
    assert_non_null(strstr(ag_tape_message(t), sentence));
    ag_tape_recover(t);
    ag_map(t, p, 3, NULL, NULL, NULL, NULL);
    assert_int_equal(ag_tape_status(t), status);
    ag_tape_free(t);
    FILE *out = tmpfile();
    ag_program_list(p, out);
    fclose(out);
}

static void errors_stick(void **unused) {
    (void)unused;
    ag_program *p = failed_program();
    const char *message = ag_program_message(p);
    assert_non_null(strstr(message, "matmul"));
    check_sticky(p, AG_ERR_SHAPE, message);
    ag_program_free(p);
    check_sticky(NULL, AG_ERR_VALUE, "no program: it is NULL");
    ag_program_free(NULL);
    ag_runner_free(NULL);
    assert_int_equal(ag_run(NULL, NULL, NULL), AG_ERR_VALUE);
    assert_string_equal(ag_runner_message(NULL), "no runner: it is NULL");
    assert_int_equal(ag_program_size(NULL), 0);
    ag_program_call(NULL, NULL, NULL, NULL);
    ag_map(NULL, NULL, 1, NULL, NULL, NULL, NULL);
}

static void sentences(void **unused) {
    (void)unused;
    const ag_port in[2] = {{"x", AG_SHAPE(3), NULL}, {"s", {0}, NULL}};
    double two = 2;
    check_program_failure(ag_program_trace(AG_F64, NULL, NULL, in, 1, NULL, 1), AG_ERR_VALUE,
                          "trace: the function is NULL");
    check_program_failure(ag_program_trace(AG_F64, no_model, NULL, NULL, 1, NULL, 1), AG_ERR_VALUE,
                          "trace: the array of inputs is NULL");
    check_program_failure(ag_program_trace(AG_F64, no_model, NULL, in, -1, NULL, 2), AG_ERR_VALUE,
                          "trace: -1 inputs, 2 outputs");
    ag_program *p = ag_program_trace(AG_F64, no_model, NULL, (ag_port[]){{"x", {9, {1}}, NULL}}, 1, NULL, 0);
    assert_int_equal(ag_program_status(p), AG_ERR_SHAPE);
    ag_program_free(p);
    p = ag_program_trace(AG_F64, two_outputs, &two, in, 2, NULL, 2);
    program_fine_("trace", p);
    check_program_failure(ag_program_gradient(p, (int[]){0, 2}, 2), AG_ERR_VALUE,
                          "derivative: there is no input 2: the program has 2");
    check_program_failure(ag_program_vjp(p, NULL, -1), AG_ERR_VALUE,
                          "derivative: by -1 inputs, or an array of them that is NULL");
    check_program_failure(ag_program_vjp(p, NULL, 2), AG_ERR_VALUE,
                          "derivative: by 2 inputs, or an array of them that is NULL");
    check_program_failure(ag_program_jacobian(p, 2, 0), AG_ERR_VALUE,
                          "jacobian: there is no output 2: the program has 2");
    check_program_failure(ag_program_jacobian(p, 0, -1), AG_ERR_VALUE,
                          "derivative: there is no input -1: the program has 2");
    check_program_failure(ag_program_select(p, (int[]){1, -3}, 2), AG_ERR_VALUE,
                          "select: there is no output -3: the program has 2");
    check_program_failure(ag_program_batch(p, -1, NULL, NULL), AG_ERR_VALUE, "batch: the number of rows is -1");
    check_program_failure(ag_program_batch(p, INT64_MAX, NULL, NULL), AG_ERR_SHAPE,
                          "batch: 9223372036854775807 rows of an input have more than 8 dims or too many elements");
    ag_program *y = ag_program_select(p, (int[]){1}, 1);
    check_program_failure(ag_program_hessian(y, 0), AG_ERR_SHAPE,
                          "gradient: the first output is not a scalar, but of shape (3); see ag_program_vjp and "
                          "ag_program_jacobian");
    ag_program_free(y);
    ag_tape *t = ag_tape_new(AG_F64), *single = ag_tape_new(AG_F32);
    ag_var x[2] = {ag_tensor(t, NULL, AG_SHAPE(2)), ag_input(t, 1)}, ys[2];
    ag_program_call(t, p, x, ys);
    check_failure(t, ys[0], AG_ERR_SHAPE, "call: input x takes shape (3), not (2)");
    ag_map(t, p, 2, x, NULL, NULL, ys);
    check_failure(t, ys[1], AG_ERR_SHAPE, "map: input x takes shape (2, 3), not (2)");
    ag_map(t, p, -2, x, NULL, NULL, ys);
    check_failure(t, ys[1], AG_ERR_VALUE, "map: the number of rows is -2");
    x[0] = ag_tensor(single, NULL, AG_SHAPE(3));
    ag_program_call(single, p, x, ys);
    check_failure(single, ys[0], AG_ERR_VALUE, "call: the program is of another precision than the tape");
    ag_program_call(t, p, x, ys);
    assert_int_equal(ag_tape_status(t), AG_ERR_TAPE);
    ag_runner *r = ag_runner_new(p);
    float f[4] = {0};
    assert_int_equal(ag_run_f32(r, (const float *[]){f, f}, (float *[]){f, f}), AG_ERR_VALUE);
    assert_string_equal(ag_runner_message(r), "run: the program is of double, the arrays of float");
    double d[4] = {0};
    for (int k = 0; k < 2; k++) {
        assert_int_equal(ag_run(r, (const double *[]){k ? d : NULL, k ? NULL : d}, (double *[]){d, d}), AG_ERR_VALUE);
        assert_string_equal(ag_runner_message(r), k ? "run: input s has no data" : "run: input x has no data");
    }
    ag_runner_free(r);
    ag_tape_free(t);
    ag_tape_free(single);
    ag_program_free(p);
}

/* ---- references ---- */

static void references(void **unused) {
    (void)unused;
    double two = 2, y[8], x[4] = {0.1, 0.2, 0.3, 2};
    const ag_port in[2] = {{"x", AG_SHAPE(3), NULL}, {"s", {0}, NULL}};
    ag_program *p = ag_program_trace(AG_F64, two_outputs, &two, in, 2, NULL, 2), *g = ag_program_gradient(p, NULL, 0);
    ag_runner *r = ag_runner_new(p);
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var v[2] = {ag_tensor(t, x, AG_SHAPE(1, 3)), ag_tensor(t, x + 3, AG_SHAPE(1))}, w[2];
    ag_map(t, p, 1, v, NULL, NULL, w);
    ag_program *b = ag_program_batch(p, 1, NULL, NULL);
    ag_program_free(p); /* the runner, the tape and the batch keep it */
    assert_int_equal(ag_run(r, (const double *[]){x, x + 3}, (double *[]){y, y + 1}), AG_OK);
    ag_backward(ag_sum(w[0]));
    assert_true(number_error(ag_grad(v[1]), sin(0.1) + sin(0.2) + sin(0.3)) < 1e-15);
    ag_program *d = ag_program_gradient(b, NULL, 0);
    program_fine_("gradient of a batch", d);
    run_once(d, x, y);
    run_once(g, x, y);
    ag_runner_free(r);
    ag_program_free(d);
    ag_program_free(b);
    ag_program_free(g);
    ag_tape_free(t);
}

/* ---- calls ---- */

static void calling_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    ag_program_call(t, context, (ag_var[]){x[0], ag_num(2)}, y); /* a number for an input */
    ag_program_call(t, context, (ag_var[]){y[1], y[0]}, y);      /* in place */
}

static void calls(void **unused) {
    (void)unused;
    double two = 2;
    const ag_port in[2] = {{"x", AG_SHAPE(3), NULL}, {"s", {0}, NULL}};
    ag_program *p = ag_program_trace(AG_F64, two_outputs, &two, in, 2, NULL, 2);
    ag_program *q = ag_program_trace(AG_F64, calling_model, p, in, 1, NULL, 2);
    program_fine_("a call while tracing", q);
    double x[3] = {0.1, 0.2, 0.3}, y[4], want[4];
    double first = 2 * (sin(0.1) + sin(0.2) + sin(0.3));
    want[0] = first * (sin(0.2) + sin(0.4) + sin(0.6));
    for (int i = 0; i < 3; i++) want[1 + i] = 4 * x[i];
    run_once(q, x, y);
    check_numbers("call", "while tracing", y, want, 4, 1e-15);
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var vars[2] = {ag_tensor(t, x, AG_SHAPE(3)), ag_num(2)}, leaf = vars[0];
    ag_program_call(t, p, vars, vars); /* ys may be xs */
    assert_true(number_error(ag_value(vars[0]), first) < 1e-15);
    ag_var swapped[2] = {vars[1], vars[0]};
    ag_program_call(t, p, swapped, swapped);
    assert_true(number_error(ag_value(swapped[0]), want[0]) < 1e-15);
    ag_backward(swapped[0]);
    ag_program *g = ag_program_gradient(q, NULL, 0);
    double gradient[8], adjoint[3];
    run_once(g, x, gradient);
    ag_read_grad(leaf, adjoint);
    check_numbers("call", "gradient", adjoint, gradient + 4, 3, 1e-14);
    ag_tape_free(t);
    ag_program_free(g);
    ag_program_free(q);
    ag_program_free(p);
}

/* ---- inputs by which derivatives are taken, twice or in another order ---- */

static void wrt(void **unused) {
    (void)unused;
    double two = 2, y[32], x[8] = {0.1, 0.2, 0.3, 2, 1, 2, 3, 0.5};
    const ag_port in[2] = {{"x", AG_SHAPE(3), NULL}, {"s", {0}, NULL}};
    ag_program *p = ag_program_trace(AG_F64, two_outputs, &two, in, 2, NULL, 2);
    ag_program *g = ag_program_gradient(p, (int[]){1, 0, 1}, 3);
    program_fine_("gradient", g);
    const double ds = sin(0.1) + sin(0.2) + sin(0.3);
    run_once(g, x, y);
    check_numbers("wrt", "gradient", y + 4, (double[]){ds, 2 * cos(0.1), 2 * cos(0.2), 2 * cos(0.3), ds}, 5, 1e-15);
    ag_program *j = ag_program_jvp(p, (int[]){1, 1}, 2); /* both directions count */
    run_once(j, (double[]){0.1, 0.2, 0.3, 2, 3, 4}, y);
    check_numbers("wrt", "JVP", y + 4, (double[]){7 * ds, 0, 0, 0}, 4, 1e-14);
    ag_program *many = ag_program_select(p, (int[]){0, 0, 0, 0, 0, 1, 0, 0, 0}, 9);
    run_once(many, x, y);
    assert_int_equal(ag_program_outputs(many), 9);
    assert_true(y[0] == y[10]);
    ag_program *none = ag_program_select(p, NULL, 0);
    program_fine_("select nothing", none);
    assert_int_equal(ag_program_outputs(none), 0);
    ag_program *all[] = {p, g, j, many, none};
    for (int i = 0; i < 5; i++) ag_program_free(all[i]);
}

/* ---- runs ---- */

static void solve_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_solve(x[0], x[1]);
    y[1] = ag_logdet(x[0]);
    y[2] = ag_mul(ag_at(x[1], 0), 2);
}

static void errors_in_a_run(void **unused) {
    (void)unused;
    const ag_port in[2] = {{"a", AG_SHAPE(2, 2), NULL}, {"b", AG_SHAPE(2), NULL}};
    ag_program *p = ag_program_trace(AG_F64, solve_model, NULL, in, 2, NULL, 3);
    ag_runner *r = ag_runner_new(p);
    const double good[4] = {2, 0, 0, 4}, singular[4] = {1, 2, 2, 4}, b[2] = {1, 2};
    double x[2], d, e;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ag_run(r, (const double *[]){good, b}, (double *[]){x, &d, &e}), AG_OK);
        assert_string_equal(ag_runner_message(r), "");
        assert_true(x[0] == 0.5 && x[1] == 0.5 && number_error(d, log(8)) < 1e-15 && e == 2);
        assert_int_equal(ag_run(r, (const double *[]){singular, b}, (double *[]){x, &d, &e}), AG_ERR_SINGULAR);
        assert_non_null(strstr(ag_runner_message(r), "singular"));
        e = 0;
        assert_int_equal(ag_run(r, (const double *[]){good, b}, (double *[]){NULL, NULL, &e}), AG_OK);
        assert_true(e == 2);
    }
    ag_runner_free(r);
    ag_program_free(p);
}

static bool count_calls(void *context, size_t bytes) {
    (void)bytes;
    ++*(int64_t *)context;
    return true;
}

/* Once planned, and once each output was left out, no run asks for memory. */
static void no_memory_in_runs(void **unused) {
    (void)unused;
    int64_t asked = 0;
    double two = 2, x[4] = {0.1, 0.2, 0.3, 2}, y[4];
    const ag_port in[2] = {{"x", AG_SHAPE(3), NULL}, {"s", {0}, NULL}};
    ag_program *p = ag_program_trace_with(&(ag_options){.permit = count_calls, .context = &asked}, two_outputs, &two,
                                          in, 2, NULL, 2);
    ag_runner *r = ag_runner_new(p);
    assert_true(asked > 0);
    ag_column xs[2] = {ag_each(x), ag_shared(x + 3)}, ys[2] = {ag_shared(y), ag_each(y + 1)};
    for (int i = 0; i < 3; i++) {
        int64_t before = asked;
        assert_int_equal(ag_run(r, (const double *[]){x, x + 3}, (double *[]){y, NULL}), AG_OK);
        assert_int_equal(ag_run_rows(r, 1, xs, ys), AG_OK);
        if (i) assert_int_equal(asked, before);
    }
    ag_runner_free(r);
    ag_program_free(p);
}

/* Operations that need much room to work in. */
static void roomy_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    int64_t n = ag_shape_of(x[0]).dim[0];
    (void)context;
    ag_var image = ag_reshape(x[0], AG_SHAPE(1, 4, -1, n / 2)), heads = ag_reshape(x[0], AG_SHAPE(1, -1, 4, 10));
    ag_var taps = ag_constant_tensor(t, NULL, AG_SHAPE(3, 4, 3, 3));
    ag_var sum = ag_sum(ag_conv2d(image, taps, (ag_conv_options){.padding = {1, 1}}));
    sum = ag_add(sum, ag_sum(ag_attention(heads, heads, heads, (ag_attention_options){.causal = true})));
    y[0] = ag_add(sum, ag_sum(ag_matmul(ag_inverse(x[0]), ag_cholesky(x[0]))));
}

static void no_memory_for_room_to_work_in(void **unused) {
    (void)unused;
    enum { SIDE = 200 };
    int64_t asked = 0;
    double *x = new_numbers(SIDE * SIDE), *y = new_numbers(1 + SIDE * SIDE);
    for (int i = 0; i < SIDE; i++) x[i * (SIDE + 1)] = 3 + i % 7;
    const ag_port in = {"x", AG_SHAPE(SIDE, SIDE), NULL};
    ag_program *p = ag_program_trace_with(&(ag_options){.permit = count_calls, .context = &asked}, roomy_model, NULL,
                                          &in, 1, NULL, 1);
    ag_program *g = ag_program_gradient(p, NULL, 0);
    program_fine_("gradient", g);
    ag_runner *r = ag_runner_new(g);
    for (int i = 0; i < 3; i++) {
        int64_t before = asked;
        if (ag_run(r, (const double *[]){x}, (double *[]){y, y + 1}) != AG_OK) fail_msg("%s", ag_runner_message(r));
        if (i) assert_int_equal(asked, before);
    }
    ag_runner_free(r);
    ag_program_free(g);
    ag_program_free(p);
    free(x);
    free(y);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_shapes),
        cmocka_unit_test(given_twice),
        cmocka_unit_test(kept_for_the_way_back),
        cmocka_unit_test(made_twice),
        cmocka_unit_test(made_many_times),
        cmocka_unit_test(outputs_of_all_kinds),
        cmocka_unit_test(eight_dims_and_none),
        cmocka_unit_test(jacobians_of_eight_dims),
        cmocka_unit_test(a_jacobian_that_is_too_large),
        cmocka_unit_test(nothing_at_all),
        cmocka_unit_test(detach_pause_and_argmax),
        cmocka_unit_test(a_sweep_while_recording),
        cmocka_unit_test(a_live_tape),
        cmocka_unit_test(common_and_dead),
        cmocka_unit_test(crowded),
        cmocka_unit_test(gradients_are_made_as_they_are_stored),
        cmocka_unit_test(errors_stick),
        cmocka_unit_test(sentences),
        cmocka_unit_test(references),
        cmocka_unit_test(calls),
        cmocka_unit_test(wrt),
        cmocka_unit_test(errors_in_a_run),
        cmocka_unit_test(no_memory_in_runs),
        cmocka_unit_test(no_memory_for_room_to_work_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
