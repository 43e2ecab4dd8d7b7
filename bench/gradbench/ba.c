/* Bundle adjustment: how far the projections of 3D points into cameras are from the observed features, and the sparse
 * Jacobian. An observation is a camera, a point, a weight and a feature:
 *     Xcam = R (X - C);  p = Xcam.xy / Xcam.z;  projection = f (1 + k1 |p|^2 + k2 |p|^4) p + principal point
 *     residual = w (projection - feature);  weight residual = 1 - w^2 */
#include "gradbench.h"

/* What an observation depends on, in this order. */
enum {
    ROTATION = 0,
    CENTRE = 3,
    FOCAL = 6,
    PRINCIPAL = 7,
    RADIAL = 9,
    CAMERA = 11,
    POINT = CAMERA,
    WEIGHT = 14,
    COLUMNS
};
enum { OBSERVED = 2, RESIDUALS = 3 }; /* residuals: two of the projection, one of the weight */

typedef struct ba {
    int64_t n, m, p; /* cameras, points, observations */
    double *cameras, *points, *weights, *features;
    int64_t *camera_of, *point_of;
    double *projection, *weight; /* residuals: 2 p, p */
    /* The Jacobian in compressed rows: first the 2 p of projections, then the p of weights. */
    int64_t entries, *rows, *columns;
    double *values;
    ag_runner *runner; /* of one observation's residuals or Jacobian */
} ba;

static double *repeat(gb_run *run, const double *row, int64_t length, int64_t times) {
    double *out = GB_DOUBLES(run, length * times);
    for (int64_t i = 0; out && i < length * times; i++) out[i] = row[i % length];
    return out;
}

/* The input has one camera, point, weight and feature, which stand for all. */
static bool parse(gb_run *run, const json_t *input) {
    ba *b = run->state;
    const int64_t most = 1 << 28;
    int64_t camera = CAMERA, point = 3, feature = OBSERVED;
    b->n = gb_integer(run, input, "n", 1, most);
    b->m = gb_integer(run, input, "m", 1, most);
    b->p = gb_integer(run, input, "p", 1, most);
    double weight = gb_number(run, input, "w");
    const double *one_camera = gb_tensor(run, input, "cam", 1, &camera),
                 *one_point = gb_tensor(run, input, "x", 1, &point);
    const double *one_feature = gb_tensor(run, input, "feat", 1, &feature);
    if (run->error[0]) return false;
    b->cameras = repeat(run, one_camera, CAMERA, b->n);
    b->points = repeat(run, one_point, 3, b->m);
    b->weights = repeat(run, &weight, 1, b->p);
    b->features = repeat(run, one_feature, OBSERVED, b->p);
    b->camera_of = GB_INDICES(run, b->p);
    b->point_of = GB_INDICES(run, b->p);
    b->projection = GB_DOUBLES(run, 2 * b->p);
    b->weight = GB_DOUBLES(run, b->p);
    if (run->error[0]) return false;
    for (int64_t i = 0; i < b->p; i++) {
        b->camera_of[i] = i % b->n;
        b->point_of[i] = i % b->m;
    }
    return true;
}

/* ---- the function of one observation ---- */

static ag_var dot3(const ag_var *a, const ag_var *b) {
    return ag_fma(a[2], b[2], ag_fma(a[1], b[1], ag_mul(a[0], b[0])));
}

/* Rodrigues' formula, v cos t + (r x v) sin t / t + r (r . v) (1 - cos t) / t^2 with t = |r|. The two quotients have their
 * limits at 0, so that the derivative is right there, too. */
static void rotate(const ag_var *r, const ag_var *v, ag_var *out) {
    ag_var square = dot3(r, r), turned = ag_ne(square, 0), angle = ag_sqrt(square), cosine = ag_cos(angle);
    ag_var a = ag_select(turned, ag_div(ag_sin(angle), angle), 1);
    ag_var b = ag_mul(ag_select(turned, ag_div(ag_sub(1, cosine), square), 0.5), dot3(r, v));
    for (int i = 0; i < 3; i++) {
        int j = (i + 1) % 3, k = (i + 2) % 3;
        ag_var cross = ag_fnma(r[k], v[j], ag_mul(r[j], v[k]));
        out[i] = ag_fma(b, r[i], ag_fma(a, cross, ag_mul(cosine, v[i])));
    }
}

static void residuals(const ag_var *x, const ag_var *feature, ag_var *out) {
    ag_var from_centre[3], seen[3], plane[2];
    for (int i = 0; i < 3; i++) from_centre[i] = ag_sub(x[POINT + i], x[CENTRE + i]);
    rotate(x + ROTATION, from_centre, seen);
    for (int i = 0; i < 2; i++) plane[i] = ag_div(seen[i], seen[2]);
    ag_var square = ag_fma(plane[1], plane[1], ag_mul(plane[0], plane[0]));
    ag_var stretch = ag_fma(ag_fma(x[RADIAL + 1], square, x[RADIAL]), square, 1);
    for (int i = 0; i < 2; i++) {
        ag_var projected = ag_fma(ag_mul(plane[i], stretch), x[FOCAL], x[PRINCIPAL + i]);
        out[i] = ag_mul(x[WEIGHT], ag_sub(projected, feature[i]));
    }
    out[2] = ag_fnma(x[WEIGHT], x[WEIGHT], 1);
}

/* ---- programs of one observation: inputs are camera, point, weight, feature ---- */

/* Outputs: the two residuals of the projection; that of the weight. Returns what they depend on, as one vector. */
static ag_var record_residuals(const ag_var *in, ag_var *out) {
    ag_var parts[] = {in[0], in[1], ag_unsqueeze(in[2], 0)}, all = ag_concat(parts, 3, 0), x[COLUMNS],
           feature[OBSERVED];
    for (int k = 0; k < COLUMNS; k++) x[k] = ag_at(all, k);
    for (int k = 0; k < OBSERVED; k++) feature[k] = ag_at(in[3], k);
    ag_var residual[RESIDUALS];
    residuals(x, feature, residual);
    out[0] = ag_stack(residual, 2, 0);
    out[1] = residual[2];
    return all;
}

static void trace_residuals(ag_tape *tape, const ag_var *in, ag_var *out, void *context) {
    (void)tape, (void)context;
    record_residuals(in, out);
}

/* Outputs: the two rows of the projection's Jacobian, (2, 15); the weight's only entry. */
static void trace_jacobian(ag_tape *tape, const ag_var *in, ag_var *out, void *context) {
    (void)tape, (void)context;
    ag_var value[2], all = record_residuals(in, value), weight = ag_at(all, WEIGHT);
    out[0] = ag_jacobian(value[0], all);
    ag_gradient(value[1], &weight, 1, &out[1]);
}

static bool prepare(gb_run *run, ag_model model) {
    ba *b = run->state;
    const ag_port in[] = {ag_in("camera", AG_SHAPE(CAMERA)), ag_in("point", AG_SHAPE(3)),
                          ag_in("weight", (ag_shape){0}), ag_in("feature", AG_SHAPE(OBSERVED))};
    b->runner = gb_runner(run, ag_program_trace(AG_F64, model, NULL, in, 4, NULL, 2));
    return b->runner != NULL;
}

static void run_all(gb_run *run, double *projection, double *weight) {
    ba *b = run->state;
    const ag_column in[] = {ag_indexed(b->cameras, b->camera_of), ag_indexed(b->points, b->point_of),
                            ag_each(b->weights), ag_each(b->features)};
    const ag_column out[] = {ag_each(projection), ag_each(weight)};
    gb_check(run, b->runner, ag_run_rows(b->runner, b->p, in, out));
}

static bool prepare_objective(gb_run *run) { return prepare(run, trace_residuals); }

static void objective(gb_run *run) {
    ba *b = run->state;
    run_all(run, b->projection, b->weight);
}

/* Where the Jacobian's entries are. */
static bool find_pattern(gb_run *run, ba *b) {
    b->entries = (2 * COLUMNS + 1) * b->p;
    b->rows = GB_INDICES(run, 3 * b->p + 1);
    b->columns = GB_INDICES(run, b->entries);
    b->values = GB_DOUBLES(run, b->entries);
    if (run->error[0]) return false;
    int64_t point_columns = CAMERA * b->n, weight_columns = point_columns + 3 * b->m, *column = b->columns;
    for (int64_t row = 0; row < 2 * b->p; row++) {
        int64_t i = row / 2;
        for (int k = 0; k < CAMERA; k++) *column++ = CAMERA * b->camera_of[i] + k;
        for (int k = 0; k < 3; k++) *column++ = point_columns + 3 * b->point_of[i] + k;
        *column++ = weight_columns + i;
        b->rows[row + 1] = b->rows[row] + COLUMNS;
    }
    for (int64_t i = 0; i < b->p; i++) {
        *column++ = weight_columns + i;
        b->rows[2 * b->p + i + 1] = b->rows[2 * b->p + i] + 1;
    }
    return true;
}

static bool prepare_jacobian(gb_run *run) { return find_pattern(run, run->state) && prepare(run, trace_jacobian); }

static void jacobian(gb_run *run) {
    ba *b = run->state;
    run_all(run, b->values, b->values + 2 * COLUMNS * b->p);
}

/* ---- output: the eval wants the first residuals; the first 30 and the last of the Jacobian's numbers ---- */

static json_t *print_residuals(gb_run *run) {
    ba *b = run->state;
    return json_pack("{s:{s:o,s:I},s:{s:f,s:I}}", "reproj_error", "elements", gb_vector(b->projection, OBSERVED),
                     "repeated", (json_int_t)b->p, "w_err", "element", b->weight[0], "repeated", (json_int_t)b->p);
}

enum { SHOWN = 2 * COLUMNS };

static json_t *ends_of_indices(const int64_t *numbers, int64_t n) {
    json_t *array = json_array();
    for (int64_t i = 0; i < SHOWN && i < n; i++) json_array_append_new(array, json_integer(numbers[i]));
    json_array_append_new(array, json_integer(numbers[n - 1]));
    return array;
}

static json_t *print_jacobian(gb_run *run) {
    ba *b = run->state;
    json_t *values = gb_vector(b->values, SHOWN), *last = json_real(b->values[b->entries - 1]);
    if (!values || json_array_append_new(values, last) != 0) {
        json_decref(values);
        return NULL;
    }
    return json_pack("{s:o,s:o,s:o}", "rows", ends_of_indices(b->rows, 3 * b->p + 1), "cols",
                     ends_of_indices(b->columns, b->entries), "vals", values);
}

const gb_function gb_ba[] = {{"ba", "objective", sizeof(ba), parse, prepare_objective, objective, print_residuals},
                             {"ba", "jacobian", sizeof(ba), parse, prepare_jacobian, jacobian, print_jacobian},
                             {0}};
