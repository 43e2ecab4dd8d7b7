/* The affine map of a dense layer: against product and sums, values and adjoints; derivatives by every route; errors. */
#include "operation_suite.h"

/* Parts of a case, and FUNCTION * (1 + the number of a function). */
enum { BIAS = 1, RESIDUAL = 2, FUNCTION = 4 };
static const ag_opcode functions[] = {AG_RELU, AG_TANH, AG_SIGMOID, AG_SILU, AG_GELU, AG_GELU_TANH, AG_MISH};
enum { FUNCTIONS = sizeof functions / sizeof *functions };

static ag_var fused(int parts, const ag_var *x) {
    ag_var none = ag_num(0);
    if (parts >= FUNCTION)
        return ag_linear_activated(x[0], x[1], parts & BIAS ? x[2] : none, functions[parts / FUNCTION - 1]);
    return ag_linear(x[0], x[1], parts & BIAS ? x[2] : none, parts & RESIDUAL ? x[3] : none);
}

static ag_var composed(int parts, const ag_var *x) {
    ag_var y = ag_matmul(x[0], ag_transpose(x[1]));
    if (parts & BIAS) y = ag_add(y, x[2]);
    if (parts >= FUNCTION) return ag_apply1_(functions[parts / FUNCTION - 1], y);
    return parts & RESIDUAL ? ag_add(y, x[3]) : y;
}

static void check_case(ag_type type, ag_shape s, int64_t out, int parts) {
    ag_tape *t = ag_tape_new(type);
    int64_t in = s.dim[s.rank - 1];
    ag_shape result = s;
    result.dim[s.rank - 1] = out;
    ag_var x[] = {random_tensor(t, s, -1, 1), random_tensor(t, AG_SHAPE(out, in), -1, 1),
                  random_tensor(t, AG_SHAPE(out), -1, 1), random_tensor(t, result, -1, 1)};
    ag_var seed = random_tensor(t, result, -1, 1), y = fused(parts, x), z = composed(parts, x);
    char label[64];
    snprintf(label, sizeof label, "rank %d, %d to %d, parts %d", s.rank, (int)in, (int)out, parts);
    double tolerance = type == AG_F64 ? 1e-12 : 1e-4;
    double *want = new_numbers(shape_count(result));
    ag_read(z, want);
    check_values(label, y, result, want, tolerance);
    free(want);
    for (int k = 0; k < 4; k++) {
        if ((k == 2 && !(parts & BIAS)) || (k == 3 && !(parts & RESIDUAL))) continue;
        int64_t n = ag_count(x[k]);
        double *got = new_numbers(n);
        want = new_numbers(n);
        ag_sweep(&z, &seed, 1, AG_RESET);
        ag_read_grad(x[k], want);
        ag_sweep(&y, &seed, 1, AG_RESET);
        ag_read_grad(x[k], got);
        check_numbers(label, "adjoint", got, want, n, tolerance);
        ag_sweep(&y, &seed, 1, AG_ACCUMULATE);
        ag_read_grad(x[k], got);
        for (int64_t i = 0; i < n; i++) want[i] *= 2;
        check_numbers(label, "adjoint, twice", got, want, n, 2 * tolerance);
        free(want), free(got);
    }
    check_fine(label, t);
    ag_tape_free(t);
}

static void values(void **unused) {
    (void)unused;
    const ag_shape shapes[] = {AG_SHAPE(5),    AG_SHAPE(1),        AG_SHAPE(1, 4),
                               AG_SHAPE(7, 3), AG_SHAPE(2, 5, 33), AG_SHAPE(40, 64)};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int parts = 0; parts < FUNCTION * (1 + FUNCTIONS); parts++)
            for (int type = 0; type < 2 && !(parts >= FUNCTION && parts & RESIDUAL); type++)
                for (int64_t out = 1; out < 80; out = out * 4 + 1)
                    check_case(type ? AG_F32 : AG_F64, shapes[i], out, parts);
}

/* Of several blocks of columns and parts of the adjoint: each row is taken to the function once, and all are. */
static void large(void **unused) {
    (void)unused;
    check_case(AG_F32, AG_SHAPE(3, 100, 300), 700, BIAS | FUNCTION * 5);
    check_case(AG_F32, AG_SHAPE(1200, 20), 515, BIAS | FUNCTION);
    check_case(AG_F64, AG_SHAPE(400, 30), 300, FUNCTION * 5);
    check_case(AG_F32, AG_SHAPE(1100, 24), 260, BIAS | RESIDUAL);
}

/* Where there can be no adjoint, nothing is kept for it; the values are the same to the bit. */
static void values_without_derivatives(void **unused) {
    (void)unused;
    for (int f = 0; f < FUNCTIONS; f++) {
        ag_tape *t = ag_tape_new(AG_F32);
        ag_var x = random_tensor(t, AG_SHAPE(30, 20), -1, 1), w = random_tensor(t, AG_SHAPE(40, 20), -1, 1),
               none = ag_num(0);
        float with[1200], without[1200];
        ag_read_f32(ag_linear_activated(x, w, none, functions[f]), with);
        ag_pause(t);
        ag_read_f32(ag_linear_activated(x, w, none, functions[f]), without);
        ag_resume(t);
        assert_memory_equal(with, without, sizeof with);
        ag_tape_free(t);
    }
}

static ag_var of_parts(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n;
    const int *parts = context;
    ag_var in[] = {ag_transpose(ag_sin(x[0])), x[1], x[2 % n], x[(*parts & BIAS ? 3 : 2) % n]};
    return fused(*parts, in);
}

static void derivatives(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    int all = BIAS | RESIDUAL, none = 0, residual = RESIDUAL;
    ag_var x[] = {random_tensor(t, AG_SHAPE(2, 3), -1, 1), random_tensor(t, AG_SHAPE(2, 2), -1, 1),
                  random_tensor(t, AG_SHAPE(2), -1, 1), random_tensor(t, AG_SHAPE(3, 2), -1, 1)};
    check_operation("linear", of_parts, &all, x, 4);
    check_derivatives("without a bias", of_parts, &none, x, 2);
    check_derivatives("a residual", of_parts, &residual, (const ag_var[]){x[0], x[1], x[3]}, 3);
    for (int f = 0; f < FUNCTIONS; f++) {
        int parts = FUNCTION * (1 + f) + (f % 2 ? BIAS : 0);
        if (functions[f] == AG_RELU) continue; /* a kink may lie near */
        check_operation(ag_op_table[functions[f]].name, of_parts, &parts, x, 3);
    }
    ag_tape_free(t);
}

/* What is recorded while nothing is traced may be frozen, too, with the function in the operation: loaded, run, and as C. */
static void frozen(void **unused) {
    (void)unused;
    for (int f = 0; f < FUNCTIONS; f++) {
        ag_tape *t = ag_tape_new(AG_F64);
        ag_var x[] = {random_tensor(t, AG_SHAPE(4, 3), -1, 1), random_tensor(t, AG_SHAPE(2, 3), -1, 1),
                      random_tensor(t, AG_SHAPE(2), -1, 1)};
        ag_var y = fused(BIAS | FUNCTION * (1 + f), x);
        double in[20], want[8], got[8];
        ag_read(x[0], in), ag_read(x[1], in + 12), ag_read(x[2], in + 18), ag_read(y, want);
        ag_program *p = ag_program_freeze(x, NULL, 3, &y, NULL, 1);
        program_fine("frozen", "frozen", p);
        char *bytes = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&bytes, &size);
        assert_int_equal(ag_program_save(p, out), AG_OK);
        fclose(out);
        ag_program *q = ag_program_load_bytes(bytes, size, NULL, 0), *g = ag_program_vjp(q, NULL, 0);
        program_fine("frozen", "loaded", q);
        program_fine("frozen", "derivative", g);
        run_numbers("frozen", "machine", q, 0, false, in, got);
        check_numbers("frozen", "value", got, want, 8, 1e-14);
        if (have_compiler) {
            ag_compiled *c = ag_program_compile(q, &(ag_compile_options){.cache = folder});
            assert_string_equal(ag_compiled_message(c), "");
            const double *const xs[] = {in, in + 12, in + 18};
            double *const ys[] = {got};
            assert_int_equal(ag_compiled_run(c, xs, ys), AG_OK);
            check_numbers("frozen", "printed", got, want, 8, 1e-13);
            ag_compiled_free(c);
        }
        ag_program_free(g), ag_program_free(q), ag_program_free(p);
        free(bytes);
        ag_tape_free(t);
    }
}

static void edges(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var none = ag_num(0), bias = ag_tensor(t, (double[]){1, 2}, AG_SHAPE(2));
    ag_var y = ag_linear(ag_zeros(t, AG_SHAPE(2, 0)), ag_zeros(t, AG_SHAPE(2, 0)), bias, none);
    check_values("no inputs", y, AG_SHAPE(2, 2), (double[]){1, 2, 1, 2}, 0);
    check_values("no rows", ag_linear(ag_zeros(t, AG_SHAPE(0, 3)), ag_zeros(t, AG_SHAPE(2, 3)), bias, none),
                 AG_SHAPE(0, 2), NULL, 0);
    ag_var x = ag_tensor(t, (double[]){3}, AG_SHAPE(1)), w = ag_tensor(t, (double[]){2}, AG_SHAPE(1, 1));
    check_values("itself", ag_linear(x, w, x, x), AG_SHAPE(1), (double[]){12}, 0);
    ag_backward(ag_sum(ag_linear(x, w, x, x)));
    assert_true(ag_grad(ag_at(x, 0)) == 4 && ag_grad(ag_at(ag_index(w, 0, 0), 0)) == 3);
    check_fine("edges", t);
    ag_tape_free(t);
}

static void errors(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_zeros(t, AG_SHAPE(2, 3)), w = ag_zeros(t, AG_SHAPE(4, 3)), none = ag_num(0);
    check_failure(t, ag_linear(x, ag_zeros(t, AG_SHAPE(3, 4)), none, none), AG_ERR_SHAPE,
                  "linear: rows of shape (2, 3) for x of shape (2, 3) and a weight of shape (3, 4)");
    check_failure(t, ag_linear(x, w, ag_zeros(t, AG_SHAPE(3)), none), AG_ERR_SHAPE,
                  "linear: a bias of shape (3) for x of shape (2, 3) and a weight of shape (4, 3)");
    check_failure(t, ag_linear(x, w, none, x), AG_ERR_SHAPE,
                  "linear: a residual of shape (2, 3) for x of shape (2, 3) and a weight of shape (4, 3)");
    check_failure(t, ag_linear_activated(x, w, none, AG_SIN), AG_ERR_VALUE, "linear: it has no form with sin after it");
    check_failure(t, ag_linear_activated(x, w, none, (ag_opcode)-1), AG_ERR_VALUE,
                  "linear: it has no form with an unknown operation after it");
    check_failure(t, ag_linear_activated(x, w, x, AG_GELU), AG_ERR_SHAPE,
                  "linear: a bias of shape (2, 3) for x of shape (2, 3) and a weight of shape (4, 3)");
    ag_tape_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),      cmocka_unit_test(large),  cmocka_unit_test(values_without_derivatives),
        cmocka_unit_test(edges),       cmocka_unit_test(frozen), cmocka_unit_test(errors),
        cmocka_unit_test(derivatives),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
