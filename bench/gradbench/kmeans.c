/* k-means: the sum over points of the squared distance to the nearest centroid, and Newton's direction by the centroids.
 * The Hessian is diagonal, so its product with a vector of ones is its diagonal. */
#include "gradbench.h"

typedef struct kmeans {
    int64_t n, k, d;
    double *points, *centroids;
    double cost, *direction;
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
    s->direction = GB_DOUBLES(run, s->k * s->d);
    return s->direction != NULL;
}

/* |p - c|^2 = |p|^2 + (|c|^2 - 2 p . c), where only the second part is different for each centroid. */
static ag_var cost(const kmeans *s, ag_var centroids) {
    ag_var points = ag_constant_tensor(centroids.tape, s->points, AG_SHAPE(s->n, s->d));
    ag_var products = ag_matmul(points, ag_transpose(centroids)); /* (n, k) */
    ag_var squares = ag_sum_over(ag_square(centroids), AG_AXES(1), false);
    ag_var nearest = ag_min_over(ag_fnma(2, products, squares), AG_AXES(1), false);
    return ag_add(ag_sum(nearest), ag_vdot(points, points));
}

static void evaluate_cost(gb_run *run) {
    kmeans *s = run->state;
    s->cost = ag_value(cost(s, ag_tensor(run->tape, s->centroids, AG_SHAPE(s->k, s->d))));
}

static void direction(gb_run *run) {
    kmeans *s = run->state;
    ag_var centroids = ag_tensor(run->tape, s->centroids, AG_SHAPE(s->k, s->d)), gradient, diagonal;
    ag_var ones = ag_ones(run->tape, AG_SHAPE(s->k, s->d));
    ag_gradient(cost(s, centroids), &centroids, 1, &gradient);
    ag_jvp(&gradient, 1, &centroids, &ones, 1, &diagonal);
    ag_read(ag_div(gradient, diagonal), s->direction);
}

static json_t *print_cost(gb_run *run) { return json_real(((kmeans *)run->state)->cost); }

static json_t *print_direction(gb_run *run) {
    kmeans *s = run->state;
    return gb_matrix(s->direction, s->k, s->d);
}

const gb_function gb_kmeans[] = {{"kmeans", "cost", sizeof(kmeans), parse, NULL, evaluate_cost, print_cost},
                                 {"kmeans", "dir", sizeof(kmeans), parse, NULL, direction, print_direction},
                                 {0}};
