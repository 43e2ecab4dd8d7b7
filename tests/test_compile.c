/* Compiled programs with plain products for chains: where a product would be NaN, the answer is the machine's all the same.
 * Programs on small tensors, which are taken apart to run. */
#include "folder.h"
#include "programs.h"

/* ---- models of three numbers, in which zero times infinity occurs ---- */

typedef struct model_row {
    const char *name;
    ag_var (*f)(ag_var x, ag_var y, ag_var z);
} model_row;

static ag_var distance(ag_var x, ag_var y, ag_var z) {
    return ag_recip(ag_sqrt(ag_fma(x, x, ag_fma(y, y, ag_square(z)))));
}
static ag_var plain(ag_var x, ag_var y, ag_var z) { return ag_add(ag_chain(x, ag_recip(y)), ag_chain(z, ag_exp(y))); }
/* what the chain's product is cannot be told from the outputs: */
static ag_var compared(ag_var x, ag_var y, ag_var z) { return ag_select(ag_le(ag_chain(x, ag_recip(y)), z), x, z); }
static ag_var powered(ag_var x, ag_var y, ag_var z) { return ag_pow(ag_chain(x, ag_recip(y)), ag_mul(z, 0.0)); }
static ag_var again(ag_var x, ag_var y, ag_var z) { return ag_chain(z, ag_chain(x, ag_recip(y))); }
static ag_var in_a_tensor(ag_var x, ag_var y, ag_var z) {
    ag_var v[] = {ag_chain(x, ag_recip(y)), z};
    return ag_at(ag_stack(v, 2, 0), 1);
}

static const model_row models[] = {{"distance", distance}, {"plain", plain}, {"compared", compared},
                                   {"powered", powered},   {"again", again}, {"in a tensor", in_a_tensor}};
enum { MODELS = sizeof models / sizeof *models };

static void model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t;
    y[0] = ((const model_row *)context)->f(x[0], x[1], x[2]);
}

static double number_at(ag_type type, const void *of, int k) { return ag_load(type, of, k); }

/* All points of a grid: what is compiled gives what the machine gives, zeros' signs aside. Takes the program. */
static void check_grid(const char *name, ag_type type, ag_program *p) {
    static const double grid[] = {0.0, -0.0, 1, -2.5, INFINITY, -INFINITY, NAN};
    enum { GRID = sizeof grid / sizeof *grid, MOST = 8 };
    ag_compiled *c = ag_program_compile(p, &(ag_compile_options){.cache = folder});
    if (ag_compiled_status(c) != AG_OK) fail_msg("%s: %s", name, ag_compiled_message(c));
    ag_runner *r = ag_runner_new(p);
    int nx = ag_program_inputs(p), ny = ag_program_outputs(p);
    assert_true(nx <= MOST && ny <= MOST);
    for (int i = 0; i < GRID * GRID * GRID; i++) {
        double x[MOST], y[2][MOST];
        void *xs[MOST], *ys[2][MOST];
        const int at[] = {i % GRID, i / GRID % GRID, i / GRID / GRID};
        for (int k = 0; k < nx; k++) ag_store(type, xs[k] = &x[k], 0, k < 3 ? grid[at[k]] : grid[at[(k + i) % 3]]);
        for (int k = 0; k < ny; k++) ys[0][k] = &y[0][k], ys[1][k] = &y[1][k];
        if (type == AG_F64) {
            ag_compiled_run(c, (const double *const *)(void *)xs, (double *const *)(void *)ys[0]);
            ag_run(r, (const double *const *)(void *)xs, (double *const *)(void *)ys[1]);
        } else {
            ag_compiled_run_f32(c, (const float *const *)(void *)xs, (float *const *)(void *)ys[0]);
            ag_run_f32(r, (const float *const *)(void *)xs, (float *const *)(void *)ys[1]);
        }
        for (int k = 0; k < ny; k++) {
            double got = number_at(type, &y[0][k], 0), want = number_at(type, &y[1][k], 0);
            bool same = isnan(want) ? isnan(got) : isinf(want) ? got == want : number_error(got, want) < 1e-6;
            if (!same)
                fail_msg("%s, %s, at (%g, %g, %g): output %d is %.17g, should be %.17g", name,
                         type == AG_F64 ? "f64" : "f32", grid[at[0]], grid[at[1]], grid[at[2]], k, got, want);
        }
    }
    ag_runner_free(r);
    ag_compiled_free(c);
    ag_program_free(p);
}

static void zero_times_infinity(void **unused) {
    const ag_port in[3] = {{.name = "x"}, {.name = "y"}, {.name = "z"}};
    (void)unused;
    if (!have_compiler) skip();
    for (int k = 0; k < MODELS; k++)
        for (int type = AG_F64; type <= AG_F32; type++) {
            ag_program *p = ag_program_trace((ag_type)type, model, (void *)(uintptr_t)&models[k], in, 3, NULL, 1);
            check_grid(models[k].name, (ag_type)type, ag_program_gradient(p, NULL, 0));
            check_grid(models[k].name, (ag_type)type, ag_program_jvp(p, NULL, 0));
            check_grid(models[k].name, (ag_type)type, p);
        }
}

/* ---- small tensors ---- */

/* Ports of every kind: outputs that are tensors, numbers, empty, inputs, constants. */
static void small(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    const double table[] = {1, 2, 3, 4};
    (void)context;
    ag_var a = ag_reshape(x[0], AG_SHAPE(2, 2));
    y[0] = ag_matmul(a, ag_transpose(a));
    y[1] = ag_sum(ag_mul(x[0], x[1]));
    y[2] = x[0];
    y[3] = ag_constant_tensor(t, table, AG_SHAPE(2, 2));
    y[4] = ag_zeros(t, AG_SHAPE(0));
    y[5] = ag_add(ag_at(y[0], 1), x[1]);
    y[6] = ag_slice(x[0], 0, 1, 3, 1);
}

static void small_tensors(void **unused) {
    const double x[] = {1, 2, 3, 5}, w = 0.5;
    const ag_port in[] = {ag_in("x", AG_SHAPE(4)), ag_in("w", (ag_shape){.rank = 0})};
    const ag_port out[] = {ag_out("a"), ag_out("b"), ag_out("c"), ag_out("d"), ag_out("e"), ag_out("f"), ag_out("g")};
    const double want[7][4] = {{5, 13, 13, 34}, {5.5}, {1, 2, 3, 5}, {1, 2, 3, 4}, {0}, {13.5}, {2, 3}};
    const int count[] = {4, 1, 4, 4, 0, 1, 2};
    (void)unused;
    ag_program *p = ag_program_trace(AG_F64, small, NULL, in, 2, out, 7);
    if (ag_program_status(p) != AG_OK) fail_msg("%s", ag_program_message(p));
    ag_runner *r = ag_runner_new(p);
    ag_compiled *c = ag_program_compile(p, &(ag_compile_options){.cache = folder});
    for (int how = 0; how < 2; how++) {
        const double *const xs[] = {x, &w}, *const none[] = {NULL, &w};
        double y[7][4], *ys[7];
        for (int absent = 0; absent <= 7; absent++) { /* an output that is not asked for; 7: all are */
            memset(y, 0, sizeof y);
            for (int k = 0; k < 7; k++) ys[k] = k == absent ? NULL : y[k];
            assert_int_equal(how ? ag_compiled_run(c, xs, ys) : ag_run(r, xs, ys), AG_OK);
            for (int k = 0; k < 7; k++)
                for (int i = 0; k != absent && i < count[k]; i++)
                    if (y[k][i] != want[k][i]) fail_msg("output %d[%d] is %g, should be %g", k, i, y[k][i], want[k][i]);
        }
        assert_int_equal(how ? ag_compiled_run(c, none, ys) : ag_run(r, none, ys), AG_ERR_VALUE);
        assert_string_equal(how ? ag_compiled_message(c) : ag_runner_message(r),
                            "run: input x has no data"); /* inputs keep their names */
    }
    ag_compiled_free(c);
    ag_runner_free(r);
    ag_program_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zero_times_infinity),
        cmocka_unit_test(small_tensors),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
