/* k-means: the sum over points of the squared distance to the nearest centroid, and Newton's direction by the centroids.
 * The Hessian is diagonal, so its product with a vector of ones is its diagonal. A program of a block of points is mapped
 * over the blocks: what it computes for each point and centroid then stays in the processor's cache. */
#include "gradbench.h"

typedef struct kmeans {
    int64_t n, k, d;
    double *points, *centroids;
    double *result; /* the cost, or the direction */
    ag_runner *runner;
} kmeans;

static bool parse(gb_run *run, const json_t *input) {
    kmeans *s = run->state;
    int64_t points[] = {GB_ANY, GB_ANY};
    s->points = gb_tensor(run, input, "points", 2, points);
    if (!s->points) return false;
    if (points[0] * points[1] == 0) return gb_fail(run, "points: expected at least one");
    int64_t centroids[] = {GB_ANY, points[1]};
    s->centroids = gb_tensor(run, input, "centroids", 2, centroids);
    if (!s->centroids) return false;
    if (centroids[0] == 0) return gb_fail(run, "centroids: expected at least one");
    s->n = points[0];
    s->d = points[1];
    s->k = centroids[0];
    s->result = GB_DOUBLES(run, s->k * s->d);
    return s->result != NULL;
}

/* |p - c|^2 = |p|^2 + (|c|^2 - 2 p . c), where only the second part is different for each centroid. A row for each
 * centroid: what is done for all points at once is then done on long rows. */
static void cost(ag_tape *tape, const ag_var *in, ag_var *out, void *context) {
    ag_var points = in[0], centroids = in[1];
    (void)tape, (void)context;
    ag_var products = ag_matmul(centroids, ag_transpose(points)); /* (k, n) */
    ag_var squares = ag_sum_over(ag_square(centroids), AG_AXES(1), true);
    ag_var nearest = ag_min_over(ag_fnma(2, products, squares), AG_AXES(0), false);
    out[0] = ag_add(ag_sum(nearest), ag_vdot(points, points));
}

/* The gradient and the diagonal of the Hessian. */
static void derivatives(ag_tape *tape, const ag_var *in, ag_var *out, void *context) {
    ag_var value, ones = ag_ones(tape, ag_shape_of(in[1]));
    cost(tape, in, &value, context);
    ag_gradient(value, &in[1], 1, &out[0]);
    ag_jvp(&out[0], 1, &in[1], &ones, 1, &out[1]);
}

enum { BLOCK = 65536, MOST_SUMS = 2 }; /* products of a block: half a megabyte */

static ag_program *trace_block(const kmeans *s, ag_model model, int64_t points, int sums) {
    const ag_port in[] = {ag_in("points", AG_SHAPE(points, s->d)), ag_in("centroids", AG_SHAPE(s->k, s->d))};
    return ag_program_trace(AG_F64, model, NULL, in, 2, NULL, sums);
}

/* Sums over all points of what `model` computes of a block of them. */
static void sum_blocks(const kmeans *s, ag_tape *tape, const ag_var *in, ag_model model, int sums, ag_var *out) {
    const ag_along each[] = {AG_EACH, AG_SHARED}, shared[MOST_SUMS] = {AG_SHARED, AG_SHARED};
    int64_t size = BLOCK / s->k < 16 ? 16 : BLOCK / s->k, blocks = s->n / size, rest = s->n % size, end = s->n - rest;
    if (blocks > 0) {
        ag_program *block = trace_block(s, model, size, sums);
        ag_var full = ag_reshape(ag_slice(in[0], 0, 0, end, 1), AG_SHAPE(blocks, size, s->d));
        ag_map(tape, block, blocks, (ag_var[]){full, in[1]}, each, shared, out);
        ag_program_free(block);
    }
    if (rest > 0) {
        ag_program *block = trace_block(s, model, rest, sums);
        ag_var more[MOST_SUMS];
        ag_program_call(tape, block, (ag_var[]){ag_slice(in[0], 0, end, s->n, 1), in[1]}, more);
        ag_program_free(block);
        for (int i = 0; i < sums; i++) out[i] = blocks > 0 ? ag_add(out[i], more[i]) : more[i];
    }
}

static void total(ag_tape *tape, const ag_var *in, ag_var *out, void *context) {
    sum_blocks(context, tape, in, cost, 1, out);
}
static void direction(ag_tape *tape, const ag_var *in, ag_var *out, void *context) {
    ag_var sums[MOST_SUMS];
    sum_blocks(context, tape, in, derivatives, 2, sums);
    out[0] = ag_div(sums[0], sums[1]);
}

static bool prepare(gb_run *run, ag_model model) {
    kmeans *s = run->state;
    const ag_port in[] = {ag_in("points", AG_SHAPE(s->n, s->d)), ag_in("centroids", AG_SHAPE(s->k, s->d))};
    s->runner = gb_trace(run, model, s, in, 2, 0);
    return s->runner != NULL;
}
static bool prepare_cost(gb_run *run) { return prepare(run, total); }
static bool prepare_direction(gb_run *run) { return prepare(run, direction); }

static void evaluate(gb_run *run) {
    kmeans *s = run->state;
    gb_check(run, s->runner, ag_run(s->runner, (const double *[]){s->points, s->centroids}, (double *[]){s->result}));
}

static json_t *print_cost(gb_run *run) { return json_real(((kmeans *)run->state)->result[0]); }

static json_t *print_direction(gb_run *run) {
    kmeans *s = run->state;
    return gb_matrix(s->result, s->k, s->d);
}

const gb_function gb_kmeans[] = {{"kmeans", "cost", sizeof(kmeans), parse, prepare_cost, evaluate, print_cost},
                                 {"kmeans", "dir", sizeof(kmeans), parse, prepare_direction, evaluate, print_direction},
                                 {0}};
