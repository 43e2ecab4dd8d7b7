/* Layer, RMS and batch norm: against the formula from ordinary operations, values and adjoints, of sizes that end inside vectors
 * and blocks; derivatives by every route; edges and errors. */
#include "operation_suite.h"

typedef enum norm { LAYER, RMS, BATCH, NORMS } norm;

typedef struct norm_case {
    norm norm;
    int axes, parts; /* parts: 0: x alone, 1: with weight, 2: with bias */
} norm_case;

static ag_var fused(const norm_case *c, const ag_var *x) {
    ag_var none = {0}, weight = c->parts > 0 ? x[1] : none, bias = c->parts > 1 ? x[2] : none;
    return c->norm == LAYER ? ag_layer_norm(x[0], c->axes, weight, bias, 1e-5)
           : c->norm == RMS ? ag_rms_norm(x[0], c->axes, weight, 1e-5)
                            : ag_batch_norm(x[0], weight, bias, 1e-5);
}

static ag_var composed(const norm_case *c, const ag_var *x) {
    int rank = ag_shape_of(x[0]).rank;
    ag_axes axes = {0};
    for (int i = 0; i < rank; i++)
        if (c->norm == BATCH ? i != 1 : i >= rank - c->axes) axes.axis[axes.count++] = i;
    ag_var centred = c->norm == RMS ? x[0] : ag_sub(x[0], ag_mean_over(x[0], axes, true));
    ag_var y = ag_div(centred, ag_sqrt(ag_add(ag_mean_over(ag_square(centred), axes, true), 1e-5)));
    for (int k = 1; k <= c->parts; k++) {
        ag_var w = x[k];
        for (int i = 2; c->norm == BATCH && i < rank; i++) w = ag_unsqueeze(w, -1);
        y = k == 1 ? ag_mul(y, w) : ag_add(y, w);
    }
    return y;
}

static ag_shape weight_shape(const norm_case *c, ag_shape s) {
    if (c->norm == BATCH) return AG_SHAPE(s.dim[1]);
    ag_shape w = {.rank = c->axes};
    for (int i = 0; i < c->axes; i++) w.dim[i] = s.dim[s.rank - c->axes + i];
    return w;
}

static void check_case(ag_type type, const norm_case *c, ag_shape s) {
    char label[64];
    snprintf(label, sizeof label, "norm %d, %d axes, %d parts, (%d, %d, ..)", (int)c->norm, c->axes, c->parts,
             (int)s.dim[0], (int)s.dim[1]);
    ag_tape *t = ag_tape_new(type);
    ag_var x[] = {random_tensor(t, s, -1, 3), random_tensor(t, weight_shape(c, s), 0.5, 2),
                  random_tensor(t, weight_shape(c, s), -1, 1)};
    ag_var seed = random_tensor(t, s, -1, 1), y = fused(c, x), z = composed(c, x);
    check_alike(label, y, z, seed, x, c->parts + 1, type == AG_F64 ? 1e-11 : 1e-4);
    check_fine(label, t);
    ag_tape_free(t);
}

static void values(void **unused) {
    (void)unused;
    const ag_shape shapes[] = {AG_SHAPE(3, 4),       AG_SHAPE(5, 7, 6), AG_SHAPE(2, 33, 5, 7),
                               AG_SHAPE(3, 2, 2100), AG_SHAPE(64, 17),  AG_SHAPE(2, 3, 128)};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int kind = 0; kind < NORMS; kind++)
            for (int axes = 1; axes < (kind == BATCH ? 2 : 3); axes++)
                for (int parts = 0; parts < (kind == RMS ? 2 : 3); parts++)
                    for (int type = 0; type < 2; type++)
                        check_case(type ? AG_F32 : AG_F64, &(norm_case){(norm)kind, axes, parts}, shapes[i]);
}

/* ---- derivatives ---- */

static ag_var of_case(ag_tape *t, const ag_var *x, int n, void *context) {
    norm_case c = *(const norm_case *)context;
    (void)t;
    c.parts = n - 1;
    ag_var in[3];
    for (int k = 0; k < n; k++) in[k] = x[k];
    if (c.norm == LAYER) in[0] = ag_transpose(ag_exp(x[0]));
    return fused(&c, in);
}

static void derivatives(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var layer[] = {random_tensor(t, AG_SHAPE(3, 4), -1, 1), random_tensor(t, AG_SHAPE(3), 0.5, 2),
                      random_tensor(t, AG_SHAPE(3), -1, 1)};
    check_operation("layer_norm", of_case, &(norm_case){LAYER, 1, 0}, layer, 3);
    check_derivatives("layer_norm of two axes", of_case, &(norm_case){LAYER, 2, 0}, layer, 1);
    ag_var rms[] = {random_tensor(t, AG_SHAPE(2, 2, 2), -1, 1), random_tensor(t, AG_SHAPE(2, 2), 0.5, 2)};
    check_operation("rms_norm", of_case, &(norm_case){RMS, 2, 0}, rms, 2);
    ag_var batch[] = {random_tensor(t, AG_SHAPE(2, 2, 1, 2), -1, 1), random_tensor(t, AG_SHAPE(2), 0.5, 2),
                      random_tensor(t, AG_SHAPE(2), -1, 1)};
    check_operation("batch_norm", of_case, &(norm_case){BATCH, 0, 0}, batch, 3);
    ag_var vectors[] = {random_tensor(t, AG_SHAPE(4, 2), -1, 1), batch[1], batch[2]};
    check_derivatives("batch_norm of vectors", of_case, &(norm_case){BATCH, 0, 0}, vectors, 3);
    ag_tape_free(t);
}

/* ---- edges ---- */

static void edges(void **unused) {
    (void)unused;
    for (int type = 0; type < 2; type++) {
        ag_tape *t = ag_tape_new(type ? AG_F32 : AG_F64);
        ag_var none = {0}, far = ag_tensor(t, (double[]){1000001, 1000002, 1000003, 1000004}, AG_SHAPE(1, 4));
        const double z = 1.3416407864998738; /* far from 0, where x^2 - mean^2 has no digits left */
        check_values("far", ag_layer_norm(far, 1, none, none, 0), AG_SHAPE(1, 4), (double[]){-z, -z / 3, z / 3, z},
                     1e-6);
        ag_var same = ag_full(t, 5, AG_SHAPE(2, 3));
        check_values("no variance", ag_layer_norm(same, 1, none, none, 1e-5), AG_SHAPE(2, 3), (double[6]){0}, 0);
        check_values("zeros", ag_rms_norm(ag_zeros(t, AG_SHAPE(3)), 1, none, 1e-5), AG_SHAPE(3), (double[3]){0}, 0);
        ag_var bias = ag_tensor(t, (double[]){1, 2, 3}, AG_SHAPE(3));
        check_values("bias alone", ag_layer_norm(same, 1, none, bias, 1e-5), AG_SHAPE(2, 3),
                     (double[]){1, 2, 3, 1, 2, 3}, 0);
        check_values("no rows", ag_layer_norm(ag_zeros(t, AG_SHAPE(0, 3)), 1, none, none, 1e-5), AG_SHAPE(0, 3), NULL,
                     0);
        ag_tape_free(t);
    }
}

static void errors(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = counting_tensor(t, AG_SHAPE(2, 5)), none = {0};
    check_failure(t, ag_layer_norm(x, 3, none, none, 1e-5), AG_ERR_VALUE,
                  "layer_norm: 3 axes of shape (2, 5), epsilon 1e-05");
    check_failure(t, ag_rms_norm(x, 0, none, 1e-5), AG_ERR_VALUE, "rms_norm: 0 axes of shape (2, 5), epsilon 1e-05");
    check_failure(t, ag_layer_norm(x, 1, none, none, -1), AG_ERR_VALUE,
                  "layer_norm: 1 axes of shape (2, 5), epsilon -1");
    check_failure(t, ag_layer_norm(x, 1, ag_ones(t, AG_SHAPE(2)), none, 0), AG_ERR_SHAPE,
                  "layer_norm: a weight of shape (2) for x of shape (2, 5)");
    check_failure(t, ag_batch_norm(ag_zeros(t, AG_SHAPE(2, 3, 4)), ag_ones(t, AG_SHAPE(3)), ag_ones(t, AG_SHAPE(2)), 0),
                  AG_ERR_SHAPE, "batch_norm: a bias of shape (2) for x of shape (2, 3, 4)");
    check_failure(t, ag_batch_norm(ag_index(x, 0, 0), none, none, 0), AG_ERR_SHAPE,
                  "batch_norm: shape (5) has not 2 axes");
    check_failure(t, ag_layer_norm(ag_zeros(t, AG_SHAPE(2, 0)), 1, none, none, 1e-5), AG_ERR_SHAPE,
                  "layer_norm: nothing to take a mean of in shape (2, 0)");
    assert_true(ag_is_inert(ag_layer_norm(ag_num(1), 1, none, none, 0)));
    ag_tape_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),
        cmocka_unit_test(edges),
        cmocka_unit_test(errors),
        cmocka_unit_test(derivatives),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
