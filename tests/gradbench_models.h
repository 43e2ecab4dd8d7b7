/* GradBench's functions in plain C, written from their definitions one number at a time: what the tool is compared with.
 * Each is y = f(x) for flat vectors of unknowns and results; whatever else it depends on is a constant here. `input` gives
 * the eval's input for x. */
#ifndef GRADBENCH_MODELS_H
#define GRADBENCH_MODELS_H

#include <jansson.h>

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_X = 80, MOST_Y = 12 };

typedef struct model {
    const char *module, *primal, *derivative;
    int n, m;
    void (*f)(const double *x, double *y);
    json_t *(*input)(const double *x);
    double x[MOST_X];
} model;

static json_t *numbers(const double *x, int n) {
    json_t *array = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(array, json_real(x[i]));
    return array;
}

static json_t *rows(const double *x, int n, int columns) {
    json_t *array = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(array, numbers(x + i * columns, columns));
    return array;
}

/* Reproducible numbers that look random. */
static double wave(int i) { return sin(12.9898 * i + 0.7); }

/* ---- det: Gaussian elimination ---- */

static double eliminate(const double *x, int n) {
    double a[25], det = 1;
    memcpy(a, x, (size_t)(n * n) * sizeof *a);
    for (int k = 0; k < n; k++) {
        det *= a[k * n + k]; /* the test's matrices need no pivoting */
        for (int i = k + 1; i < n; i++)
            for (int j = n - 1; j >= k; j--) a[i * n + j] -= a[i * n + k] / a[k * n + k] * a[k * n + j];
    }
    return det;
}

static void det1(const double *x, double *y) { y[0] = x[0]; }
static void det4(const double *x, double *y) { y[0] = eliminate(x, 4); }
static json_t *det_input(const double *x, int n) { return json_pack("{s:o,s:i}", "A", numbers(x, n * n), "ell", n); }
static json_t *det1_input(const double *x) { return det_input(x, 1); }
static json_t *det4_input(const double *x) { return det_input(x, 4); }

/* ---- llsq, lse ---- */

enum { LLSQ_N = 5, LLSQ_M = 3, LSE_N = 4 };

static void llsq(const double *x, double *y) {
    y[0] = 0;
    for (int i = 0; i < LLSQ_N; i++) {
        double t = -1 + i * 2.0 / (LLSQ_N - 1), difference = t > 0 ? 1 : t < 0 ? -1 : 0;
        for (int j = 0; j < LLSQ_M; j++) difference -= x[j] * pow(t, j);
        y[0] += difference * difference / 2;
    }
}
static json_t *llsq_input(const double *x) { return json_pack("{s:o,s:i}", "x", numbers(x, LLSQ_M), "n", LLSQ_N); }

static void lse(const double *x, double *y) {
    double sum = 0;
    for (int i = 0; i < LSE_N; i++) sum += exp(x[i]);
    y[0] = log(sum);
}
static json_t *lse_input(const double *x) { return json_pack("{s:o}", "x", numbers(x, LSE_N)); }

/* ---- ode ---- */

enum { ODE_N = 4, ODE_STEPS = 3 };

static void ode_slope(const double *x, const double *y, double *out) {
    for (int i = 0; i < ODE_N; i++) out[i] = i ? x[i] * y[i - 1] : x[0];
}

static void ode(const double *x, double *y) {
    const double h = 2.0 / ODE_STEPS, at[4] = {0, h / 2, h / 2, h}, weight[4] = {h / 6, h / 3, h / 3, h / 6};
    memset(y, 0, ODE_N * sizeof *y);
    for (int step = 0; step < ODE_STEPS; step++) {
        double k[ODE_N] = {0}, sum[ODE_N] = {0}, there[ODE_N];
        for (int stage = 0; stage < 4; stage++) {
            for (int i = 0; i < ODE_N; i++) there[i] = y[i] + at[stage] * k[i];
            ode_slope(x, there, k);
            for (int i = 0; i < ODE_N; i++) sum[i] += weight[stage] * k[i];
        }
        for (int i = 0; i < ODE_N; i++) y[i] += sum[i];
    }
}
static json_t *ode_input(const double *x) { return json_pack("{s:o,s:i}", "x", numbers(x, ODE_N), "s", ODE_STEPS); }

/* ---- gmm: the densities themselves, not their simplified logarithms. x: alpha, mu, q, l ---- */

enum { GMM_D = 3, GMM_K = 2, GMM_N = 4, GMM_M = 1, GMM_L = GMM_D * (GMM_D - 1) / 2 };
static const double gmm_gamma = 1.3;

static double gmm_point(int i, int j) { return 1.5 * wave(7 * i + j + 3); }

/* Q from q and l, by columns below the diagonal. */
static void gmm_factor(const double *q, const double *l, double out[GMM_D][GMM_D]) {
    memset(out, 0, sizeof(double[GMM_D][GMM_D]));
    for (int j = 0; j < GMM_D; j++) {
        out[j][j] = exp(q[j]);
        for (int i = j + 1; i < GMM_D; i++) out[i][j] = *l++;
    }
}

static double gmm_determinant(double q[GMM_D][GMM_D]) {
    double det = 1;
    for (int i = 0; i < GMM_D; i++) det *= q[i][i];
    return det;
}

static double gaussian_density(double q[GMM_D][GMM_D], const double *mu, int point) {
    double square = 0;
    for (int i = 0; i < GMM_D; i++) {
        double sum = 0;
        for (int j = 0; j < GMM_D; j++) sum += q[i][j] * (gmm_point(point, j) - mu[j]);
        square += sum * sum;
    }
    return gmm_determinant(q) * exp(-square / 2) / pow(2 * M_PI, GMM_D / 2.0);
}

/* Of the precision matrix q'q; the scale matrix is the identity over gamma^2. */
static double wishart_density(double q[GMM_D][GMM_D]) {
    const int freedom = GMM_D + GMM_M + 1;
    double trace = 0, gamma = pow(M_PI, GMM_D * (GMM_D - 1) / 4.0), v_det = pow(gmm_gamma, -2.0 * GMM_D);
    for (int i = 0; i < GMM_D * GMM_D; i++) trace += q[i / GMM_D][i % GMM_D] * q[i / GMM_D][i % GMM_D];
    for (int j = 0; j < GMM_D; j++) gamma *= tgamma((freedom - j) / 2.0);
    return pow(gmm_determinant(q), freedom - GMM_D - 1) * exp(-gmm_gamma * gmm_gamma * trace / 2) /
           (pow(2, freedom * GMM_D / 2.0) * pow(v_det, freedom / 2.0) * gamma);
}

static void gmm(const double *x, double *y) {
    const double *alpha = x, *mu = alpha + GMM_K, *q = mu + GMM_K * GMM_D, *l = q + GMM_K * GMM_D;
    double factor[GMM_K][GMM_D][GMM_D], weights = 0, log_posterior = 0;
    for (int k = 0; k < GMM_K; k++) {
        gmm_factor(q + k * GMM_D, l + k * GMM_L, factor[k]);
        weights += exp(alpha[k]);
        log_posterior += log(wishart_density(factor[k]));
    }
    for (int i = 0; i < GMM_N; i++) {
        double density = 0;
        for (int k = 0; k < GMM_K; k++)
            density += exp(alpha[k]) / weights * gaussian_density(factor[k], mu + k * GMM_D, i);
        log_posterior += log(density);
    }
    y[0] = log_posterior;
}

static json_t *gmm_input(const double *x) {
    const double *alpha = x, *mu = alpha + GMM_K, *q = mu + GMM_K * GMM_D, *l = q + GMM_K * GMM_D;
    double points[GMM_N * GMM_D];
    for (int i = 0; i < GMM_N * GMM_D; i++) points[i] = gmm_point(i / GMM_D, i % GMM_D);
    return json_pack("{s:i,s:i,s:i,s:i,s:f,s:o,s:o,s:o,s:o,s:o}", "d", GMM_D, "k", GMM_K, "n", GMM_N, "m", GMM_M,
                     "gamma", gmm_gamma, "x", rows(points, GMM_N, GMM_D), "alpha", numbers(alpha, GMM_K), "mu",
                     rows(mu, GMM_K, GMM_D), "q", rows(q, GMM_K, GMM_D), "l", rows(l, GMM_K, GMM_L));
}

/* ---- lstm. x: main parameters, then extra ones ---- */

enum { LSTM_L = 2, LSTM_B = 3, LSTM_LONG = 2113, LSTM_MAIN = 8 * LSTM_L * LSTM_B };
static int lstm_c = 4; /* vectors of the sequence, at most LSTM_LONG */

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double lstm_state(int i) { return wave(i + 40); }
static double lstm_sequence(int t, int i) { return fabs(wave(5 * t + i + 60)); }

static void lstm(const double *x, double *y) {
    double state[LSTM_L * 2 * LSTM_B], total = 0;
    const double *extra = x + LSTM_MAIN;
    for (int i = 0; i < LSTM_L * 2 * LSTM_B; i++) state[i] = lstm_state(i);
    for (int t = 0; t + 1 < lstm_c; t++) {
        double out[LSTM_B], norm = 2;
        for (int i = 0; i < LSTM_B; i++) {
            double in = lstm_sequence(t, i) * extra[i];
            for (int k = 0; k < LSTM_L; k++) {
                const double *weight = x + 8 * LSTM_B * k + i, *bias = weight + 4 * LSTM_B;
                double *hidden = state + 2 * LSTM_B * k + i, *cell = hidden + LSTM_B;
                double forget = sigmoid(in * weight[0] + bias[0]);
                double enter = sigmoid(*hidden * weight[LSTM_B] + bias[LSTM_B]);
                double leave = sigmoid(in * weight[2 * LSTM_B] + bias[2 * LSTM_B]);
                double change = tanh(*hidden * weight[3 * LSTM_B] + bias[3 * LSTM_B]);
                *cell = *cell * forget + enter * change;
                in = *hidden = leave * tanh(*cell);
            }
            out[i] = in * extra[LSTM_B + i] + extra[2 * LSTM_B + i];
            norm += exp(out[i]);
        }
        for (int i = 0; i < LSTM_B; i++) total += lstm_sequence(t + 1, i) * (out[i] - log(norm));
    }
    y[0] = -total / (LSTM_B * (lstm_c - 1));
}

static json_t *lstm_input(const double *x) {
    double state[LSTM_L * 2 * LSTM_B], sequence[LSTM_LONG * LSTM_B];
    for (int i = 0; i < LSTM_L * 2 * LSTM_B; i++) state[i] = lstm_state(i);
    for (int i = 0; i < lstm_c * LSTM_B; i++) sequence[i] = lstm_sequence(i / LSTM_B, i % LSTM_B);
    return json_pack("{s:o,s:o,s:o,s:o}", "main_params", rows(x, 2 * LSTM_L, 4 * LSTM_B), "extra_params",
                     rows(x + LSTM_MAIN, 3, LSTM_B), "state", rows(state, 2 * LSTM_L, LSTM_B), "sequence",
                     rows(sequence, lstm_c, LSTM_B));
}

/* ---- ba. x: camera, point, weight ---- */

enum { BA_CAMERAS = 2, BA_POINTS = 3, BA_OBSERVATIONS = 5, BA_X = 15 };
static const double ba_feature[2] = {0.3, -0.4};

static void cross(const double *a, const double *b, double *out) {
    for (int i = 0; i < 3; i++) out[i] = a[(i + 1) % 3] * b[(i + 2) % 3] - a[(i + 2) % 3] * b[(i + 1) % 3];
}

/* v + sin t (n x v) + (1 - cos t) n x (n x v), for a rotation r = t n. */
static void rotated(const double *r, const double *v, double *out) {
    double t = sqrt(r[0] * r[0] + r[1] * r[1] + r[2] * r[2]), n[3], once[3], twice[3];
    memcpy(out, v, 3 * sizeof *out);
    if (t == 0) return;
    for (int i = 0; i < 3; i++) n[i] = r[i] / t;
    cross(n, v, once);
    cross(n, once, twice);
    for (int i = 0; i < 3; i++) out[i] += sin(t) * once[i] + (1 - cos(t)) * twice[i];
}

/* Two residuals of the projection, one of the weight. */
static void ba(const double *x, double *y) {
    double from[3], seen[3], p[2];
    for (int i = 0; i < 3; i++) from[i] = x[11 + i] - x[3 + i];
    rotated(x, from, seen);
    for (int i = 0; i < 2; i++) p[i] = seen[i] / seen[2];
    double square = p[0] * p[0] + p[1] * p[1], stretch = 1 + x[9] * square + x[10] * square * square;
    for (int i = 0; i < 2; i++) y[i] = x[14] * (x[6] * stretch * p[i] + x[7 + i] - ba_feature[i]);
    y[2] = 1 - x[14] * x[14];
}

static json_t *ba_input(const double *x) {
    return json_pack("{s:i,s:i,s:i,s:o,s:o,s:f,s:o}", "n", BA_CAMERAS, "m", BA_POINTS, "p", BA_OBSERVATIONS, "cam",
                     numbers(x, 11), "x", numbers(x + 11, 3), "w", x[14], "feat", numbers(ba_feature, 2));
}

/* ---- ht. x: theta, then us (in the complicated case) ---- */

enum { HT_BONES = 22, HT_VERTICES = 6, HT_POINTS = 2, HT_TRIANGLES = 3, HT_THETA = 26 };
static const int ht_triangles[HT_TRIANGLES][3] = {{0, 1, 2}, {3, 5, 1}, {4, 2, 0}};
static const int ht_at[HT_POINTS] = {2, 1}; /* triangles or vertices */

static double ht_number(int i) { return 0.5 * wave(3 * i + 100); }
static int ht_parent(int bone) { return bone % 4 == 2 || bone == 1 ? 0 : bone - 1; }
static double ht_relative(int bone, int i, int j) {
    return i == 3 ? j == 3 : (i == j) + ht_number(16 * bone + 4 * i + j);
}
static double ht_inverse(int bone, int i, int j) {
    return ht_relative(bone, i, j) + 0.1 * (i < 3) * ht_number(bone + j);
}
static double ht_rest(int vertex, int i) { return i == 3 ? 1 : ht_number(1000 + 4 * vertex + i); }
static double ht_weight(int vertex, int bone) { return fabs(ht_number(2000 + HT_BONES * vertex + bone)) / 5; }
static double ht_measured(int point, int i) { return ht_number(3000 + 3 * point + i); }

typedef double matrix4[4][4];

static void multiply(double (*a)[4], double (*b)[4], double (*out)[4]) {
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            out[i][j] = 0;
            for (int k = 0; k < 4; k++) out[i][j] += a[i][k] * b[k][j];
        }
}

/* About x by one angle, then about z by the other. */
static void bone_rotation(double x, double z, double (*out)[4]) {
    matrix4 about_x = {{1, 0, 0, 0}, {0, cos(x), -sin(x), 0}, {0, sin(x), cos(x), 0}, {0, 0, 0, 1}};
    matrix4 about_z = {{cos(z), -sin(z), 0, 0}, {sin(z), cos(z), 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}};
    multiply(about_z, about_x, out);
}

static void bone_transforms(const double *theta, matrix4 *out) {
    static matrix4 absolute[HT_BONES];
    double angle[HT_BONES][2] = {{0}};
    for (int finger = 0, i = 6; finger < 5; finger++)
        for (int bone = 2; bone <= 4; bone++) {
            angle[4 * finger + bone][0] = theta[i++];
            if (bone == 2) angle[4 * finger + bone][1] = theta[i++];
        }
    for (int b = 0; b < HT_BONES; b++) {
        matrix4 rest, turn, own, inverse;
        for (int i = 0; i < 16; i++) rest[i / 4][i % 4] = ht_relative(b, i / 4, i % 4);
        for (int i = 0; i < 16; i++) inverse[i / 4][i % 4] = ht_inverse(b, i / 4, i % 4);
        bone_rotation(angle[b][0], angle[b][1], turn);
        multiply(rest, turn, own);
        if (b == 0) memcpy(absolute[b], own, sizeof own);
        else multiply(absolute[ht_parent(b)], own, absolute[b]);
        multiply(absolute[b], inverse, out[b]);
    }
}

static void ht_vertex(const double *theta, int vertex, double *out) {
    static matrix4 transform[HT_BONES];
    double v[3] = {0}, length = sqrt(theta[0] * theta[0] + theta[1] * theta[1] + theta[2] * theta[2]);
    bone_transforms(theta, transform);
    for (int b = 0; b < HT_BONES; b++)
        for (int i = 0; i < 3; i++)
            for (int j = 0; j < 4; j++) v[i] += ht_weight(vertex, b) * transform[b][i][j] * ht_rest(vertex, j);
    v[0] = -v[0]; /* the test's hand is mirrored */
    if (length < 1e-4) memcpy(out, v, sizeof v);
    else rotated(theta, v, out);
    for (int i = 0; i < 3; i++) out[i] += theta[3 + i];
}

static void ht_simple(const double *x, double *y) {
    for (int p = 0; p < HT_POINTS; p++) {
        double v[3];
        ht_vertex(x, ht_at[p], v);
        for (int i = 0; i < 3; i++) y[3 * p + i] = ht_measured(p, i) - v[i];
    }
}

static void ht_complicated(const double *x, double *y) {
    for (int p = 0; p < HT_POINTS; p++) {
        const double *u = x + HT_THETA + 2 * p, weight[3] = {u[0], u[1], 1 - u[0] - u[1]};
        for (int i = 0; i < 3; i++) y[3 * p + i] = ht_measured(p, i);
        for (int corner = 0; corner < 3; corner++) {
            double v[3];
            ht_vertex(x, ht_triangles[ht_at[p]][corner], v);
            for (int i = 0; i < 3; i++) y[3 * p + i] -= weight[corner] * v[i];
        }
    }
}

static json_t *matrices(double (*element)(int, int, int)) {
    json_t *array = json_array();
    for (int b = 0; b < HT_BONES; b++) {
        double m[16];
        for (int i = 0; i < 16; i++) m[i] = element(b, i / 4, i % 4);
        json_array_append_new(array, rows(m, 4, 4));
    }
    return array;
}

static json_t *table(double (*element)(int, int), int n, int columns) {
    double m[HT_VERTICES * HT_BONES];
    for (int i = 0; i < n * columns; i++) m[i] = element(i / columns, i % columns);
    return rows(m, n, columns);
}

static json_t *ht_input(const double *x, bool complicated) {
    json_t *parents = json_array(), *triangles = json_array();
    for (int b = 0; b < HT_BONES; b++) json_array_append_new(parents, json_integer(b ? ht_parent(b) : -1));
    for (int i = 0; i < HT_TRIANGLES; i++) {
        const int *t = ht_triangles[i];
        json_array_append_new(triangles, json_pack("[iii]", t[0], t[1], t[2]));
    }
    json_t *hand =
        json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:b}", "parents", parents, "triangles", triangles, "base_relatives",
                  matrices(ht_relative), "inverse_base_absolutes", matrices(ht_inverse), "base_positions",
                  table(ht_rest, HT_VERTICES, 4), "weights", table(ht_weight, HT_VERTICES, HT_BONES), "is_mirrored", 1);
    return json_pack("{s:o,s:o,s:{s:o,s:[ii],s:o}}", "theta", numbers(x, HT_THETA), "us",
                     complicated ? rows(x + HT_THETA, HT_POINTS, 2) : json_array(), "data", "model", hand,
                     "correspondences", ht_at[0], ht_at[1], "points", table(ht_measured, HT_POINTS, 3));
}
static json_t *ht_simple_input(const double *x) { return ht_input(x, false); }
static json_t *ht_complicated_input(const double *x) { return ht_input(x, true); }

/* ---- kmeans. x: centroids ---- */

enum { KMEANS_N = 7, KMEANS_K = 2, KMEANS_D = 3 };

static double kmeans_point(int i, int j) { return wave(KMEANS_D * i + j) + (i % 2 ? 3 : 0); }

static int nearest(const double *x, int point, double *distance) {
    int best = 0;
    *distance = INFINITY;
    for (int k = 0; k < KMEANS_K; k++) {
        double square = 0;
        for (int j = 0; j < KMEANS_D; j++) square += pow(kmeans_point(point, j) - x[k * KMEANS_D + j], 2);
        if (square < *distance) {
            *distance = square;
            best = k;
        }
    }
    return best;
}

static void kmeans(const double *x, double *y) {
    y[0] = 0;
    for (int i = 0; i < KMEANS_N; i++) {
        double distance;
        nearest(x, i, &distance);
        y[0] += distance;
    }
}

/* Newton's direction: from the mean of its points to the centroid. */
static void kmeans_direction(const double *x, double *out) {
    double count[KMEANS_K] = {0};
    memset(out, 0, KMEANS_K * KMEANS_D * sizeof *out);
    for (int i = 0; i < KMEANS_N; i++) {
        double distance;
        int k = nearest(x, i, &distance);
        count[k]++;
        for (int j = 0; j < KMEANS_D; j++) out[k * KMEANS_D + j] += kmeans_point(i, j);
    }
    for (int i = 0; i < KMEANS_K * KMEANS_D; i++) out[i] = x[i] - out[i] / count[i / KMEANS_D];
}

static json_t *kmeans_input(const double *x) {
    double points[KMEANS_N * KMEANS_D];
    for (int i = 0; i < KMEANS_N * KMEANS_D; i++) points[i] = kmeans_point(i / KMEANS_D, i % KMEANS_D);
    return json_pack("{s:o,s:o}", "points", rows(points, KMEANS_N, KMEANS_D), "centroids", rows(x, KMEANS_K, KMEANS_D));
}

#endif
