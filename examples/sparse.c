/* A soap film over a square: the surface u(x, y) of least area with given heights on the boundary, 10000 unknowns, by
 * Newton's method with a sparse Hessian and LAPACK's Cholesky decomposition of a band.
 *
 * The square [-1, 1]^2 has N + 1 cells a side, each of two triangles; the unknowns are the heights at the N * N inner
 * corners. The area is recorded as a program once. Its Hessian couples each corner with six neighbours, so it has 7 entries
 * a row, found from the program; a handful of directions give all of them. The boundary is that of Scherk's surface,
 * u = log(cos x / cos y), which is minimal: so the answer is known, up to the square of the cells' width. */
#include <autograd/autograd.h>

#include <lapack.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { N = 100, UNKNOWNS = N * N, BAND = N }; /* corners that share a triangle are at most a row apart */
static const double WIDTH = 2.0 / (N + 1);

static double scherk(int i, int j) { return log(cos(i * WIDTH - 1) / cos(j * WIDTH - 1)); }

static ag_var corners(ag_var u, int i, int j) { return ag_slice(ag_slice(u, 0, i, i + N + 1, 1), 1, j, j + N + 1, 1); }

/* The area over half of a cell whose height differs by a and b along its sides. */
static ag_var areas(ag_var a, ag_var b) {
    ag_var slope = ag_div(ag_add(ag_square(a), ag_square(b)), WIDTH * WIDTH);
    return ag_mul(ag_sqrt(ag_add(slope, 1)), WIDTH * WIDTH / 2);
}

static void area(ag_tape *t, const ag_var *u, ag_var *y, void *context) {
    ag_var boundary = ag_constant_tensor(t, context, AG_SHAPE(N + 2, N + 2));
    ag_var all = ag_add(ag_pad(ag_pad(u[0], 0, 1, 1), 1, 1, 1), boundary);
    ag_var a = corners(all, 0, 0), b = corners(all, 1, 0), c = corners(all, 0, 1), d = corners(all, 1, 1);
    ag_var below = areas(ag_sub(b, a), ag_sub(c, a)), above = areas(ag_sub(d, c), ag_sub(d, b));
    y[0] = ag_add(ag_sum(below), ag_sum(above));
}

/* step = H^-1 gradient, H in COO; false if it is not positive definite. */
static bool solve(const ag_sparsity *s, const double *h, const double *gradient, double *step) {
    int n = UNKNOWNS, width = BAND, lead = BAND + 1, one = 1, info = 0;
    double *band = calloc((size_t)n * (size_t)lead, sizeof *band);
    if (!band) return false;
    for (int64_t k = 0; k < s->nonzeros; k++) /* the lower triangle, columns one after the other */
        if (s->row[k] >= s->column[k]) band[(int64_t)s->column[k] * lead + s->row[k] - s->column[k]] = h[k];
    for (int i = 0; i < n; i++) step[i] = gradient[i];
    LAPACK_dpbsv("L", &n, &width, &one, band, &lead, step, &n, &info);
    free(band);
    return info == 0;
}

/* Newton steps, halved until the area becomes smaller. Returns their number, 0 if there is no end. */
static int newton(ag_runner *value, ag_runner *second, const ag_sparsity *s, double *u) {
    static double gradient[UNKNOWNS], step[UNKNOWNS], moved[UNKNOWNS];
    double *h = calloc((size_t)s->nonzeros + 1, sizeof *h), before, after;
    int steps = 0;
    for (int i = 1; h && i <= 50 && !steps; i++) {
        if (ag_run(second, (const double *[]){u}, (double *[]){&before, gradient, h}) != AG_OK) break;
        double slope = 0, scale = 1;
        if (!solve(s, h, gradient, step)) break;
        for (int k = 0; k < UNKNOWNS; k++) slope += gradient[k] * step[k];
        printf("step %2d: area %.12f, expected to shrink by %.1e\n", i, before, slope / 2);
        if (slope < 1e-20) steps = i;
        for (after = INFINITY; scale > 1e-3; scale /= 2) {
            for (int k = 0; k < UNKNOWNS; k++) moved[k] = u[k] - scale * step[k];
            if (ag_run(value, (const double *[]){moved}, (double *[]){&after}) != AG_OK) break;
            if (after <= before - 0.1 * scale * slope || slope < 1e-12) break;
        }
        for (int k = 0; k < UNKNOWNS; k++) u[k] = moved[k];
    }
    free(h);
    return steps;
}

int main(void) {
    static double boundary[(N + 2) * (N + 2)], u[UNKNOWNS];
    for (int i = 0; i < N + 2; i++)
        for (int j = 0; j < N + 2; j++)
            if (i == 0 || j == 0 || i == N + 1 || j == N + 1) boundary[i * (N + 2) + j] = scherk(i, j);

    ag_port heights = {.name = "u", .shape = AG_SHAPE(N, N)};
    ag_program *f = ag_program_trace(AG_F64, area, boundary, &heights, 1, (ag_port[]){{.name = "area"}}, 1);
    ag_program *g = ag_program_gradient(f, NULL, 0); /* area, d_u */
    ag_sparsity *s;
    ag_program *h = ag_program_sparse_hessian(g, 0, &s); /* area, d_u, h_u */
    ag_runner *value = ag_runner_new(f), *second = ag_runner_new(h);
    printf("%d unknowns; %lld of %.0e entries of the Hessian are not 0; %d directions give them\n", UNKNOWNS,
           (long long)s->nonzeros, (double)UNKNOWNS * UNKNOWNS, s->column_colours);

    int steps = newton(value, second, s, u);
    double error = 0;
    for (int k = 0; k < UNKNOWNS; k++) error = fmax(error, fabs(u[k] - scherk(k / N + 1, k % N + 1)));
    bool fine = ag_program_status(h) == AG_OK && steps > 0 && error < WIDTH * WIDTH;
    if (ag_program_status(h) != AG_OK) fprintf(stderr, "sparse: %s\n", ag_program_message(h));
    printf("%d steps; at most %.1e from Scherk's surface, cells are %.1e wide\n", steps, error, WIDTH);
    ag_runner_free(value);
    ag_runner_free(second);
    ag_program_free(f);
    ag_program_free(g);
    ag_program_free(h);
    ag_sparsity_free(s);
    return fine ? EXIT_SUCCESS : EXIT_FAILURE;
}
