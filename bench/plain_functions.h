/* Functions to measure with, as a patient programmer writes them in C, with their gradients. */
#ifndef BENCH_PLAIN_FUNCTIONS_H
#define BENCH_PLAIN_FUNCTIONS_H

#include "scalar_cases.h"

/* ---- Rosenbrock's function --------------------------------------------------------------------------------------- */

enum { ROSENBROCK = 1000 };

static double rosenbrock(const double *x) {
    double f = 0;
    for (int i = 0; i + 1 < ROSENBROCK; i++) {
        double a = x[i + 1] - x[i] * x[i], b = 1 - x[i];
        f += 100 * (a * a) + b * b;
    }
    return f;
}
static void rosenbrock_gradient(const double *x, double *g) {
    enum { LAST = ROSENBROCK - 1 };
    g[0] = -400 * (x[1] - x[0] * x[0]) * x[0] - 2 * (1 - x[0]);
    for (int i = 1; i < LAST; i++) {
        double before = x[i] - x[i - 1] * x[i - 1], a = x[i + 1] - x[i] * x[i];
        g[i] = 200 * before - 400 * a * x[i] - 2 * (1 - x[i]);
    }
    g[LAST] = 200 * (x[LAST] - x[LAST - 1] * x[LAST - 1]);
}
/* ---- Helmholtz energy of a mixture: Griewank's example (On automatic differentiation, 1989) ---------------------- */

enum { HELMHOLTZ = 100 };
static double helmholtz_a[HELMHOLTZ * HELMHOLTZ], helmholtz_b[HELMHOLTZ];
#define SQRT2 1.4142135623730951

static void helmholtz_begin(void) {
    for (int i = 0; i < HELMHOLTZ; i++) {
        helmholtz_b[i] = 0.2 + 0.3 * i / HELMHOLTZ;
        for (int j = 0; j < HELMHOLTZ; j++) helmholtz_a[i * HELMHOLTZ + j] = 1.0 / (i + j + 1);
    }
}
static double helmholtz(const double *x) {
    double bx = 0, xax = 0, entropy = 0;
    for (int i = 0; i < HELMHOLTZ; i++) {
        double ax = 0;
        for (int j = 0; j < HELMHOLTZ; j++) ax += helmholtz_a[i * HELMHOLTZ + j] * x[j];
        xax += x[i] * ax;
        bx += helmholtz_b[i] * x[i];
    }
    for (int i = 0; i < HELMHOLTZ; i++) entropy += x[i] * log(x[i] / (1 - bx));
    return entropy - xax / (2 * SQRT2 * bx) * log((1 + (1 + SQRT2) * bx) / (1 + (1 - SQRT2) * bx));
}
static void helmholtz_gradient(const double *x, double *g) {
    double bx = 0, xax = 0, sum = 0, ax[HELMHOLTZ];
    for (int i = 0; i < HELMHOLTZ; i++) {
        ax[i] = 0; /* A is symmetric */
        for (int j = 0; j < HELMHOLTZ; j++) ax[i] += helmholtz_a[i * HELMHOLTZ + j] * x[j];
        xax += x[i] * ax[i];
        bx += helmholtz_b[i] * x[i];
        sum += x[i];
    }
    double up = 1 + (1 + SQRT2) * bx, down = 1 + (1 - SQRT2) * bx, l = log(up / down), scale = 1 / (2 * SQRT2 * bx);
    double by_bx = sum / (1 - bx) + xax * scale * (l / bx - (1 + SQRT2) / up + (1 - SQRT2) / down);
    for (int i = 0; i < HELMHOLTZ; i++)
        g[i] = log(x[i] / (1 - bx)) + 1 + by_bx * helmholtz_b[i] - 2 * ax[i] * scale * l;
}
/* ---- logistic regression: mean of softplus(z) - y z, z = X w + b ------------------------------------------------- */

enum { CASES = 1000, FEATURES = 20 };
static double logistic_x[CASES * FEATURES], logistic_y[CASES];

static void logistic_begin(void) {
    bench_fill(logistic_x, CASES * FEATURES, -1, 1);
    for (int i = 0; i < CASES; i++) logistic_y[i] = logistic_x[i * FEATURES] + logistic_x[i * FEATURES + 1] > 0;
}
static void logistic_z(const double *w, double *z) {
    for (int i = 0; i < CASES; i++) {
        double sum = w[FEATURES];
        for (int j = 0; j < FEATURES; j++) sum += logistic_x[i * FEATURES + j] * w[j];
        z[i] = sum;
    }
}
static double logistic(const double *w) {
    double f = 0, z[CASES];
    logistic_z(w, z);
    for (int i = 0; i < CASES; i++) f += (z[i] > 0 ? z[i] : 0) - z[i] * logistic_y[i] + log1p(exp(-fabs(z[i])));
    return f / CASES;
}
static void logistic_gradient(const double *w, double *g) {
    double z[CASES];
    logistic_z(w, z);
    memset(g, 0, (FEATURES + 1) * sizeof *g);
    for (int i = 0; i < CASES; i++) z[i] = (1 / (1 + exp(-z[i])) - logistic_y[i]) / CASES;
    for (int i = 0; i < CASES; i++) {
        for (int j = 0; j < FEATURES; j++) g[j] += z[i] * logistic_x[i * FEATURES + j];
        g[FEATURES] += z[i];
    }
}
/* ---- a small neural net 8-16-16-1 with tanh, mean squared error over 32 cases ------------------------------------ */

enum { IN = 8, HIDDEN = 16, NET_CASES = 32, W2 = (IN + 1) * HIDDEN, W3 = W2 + (HIDDEN + 1) * HIDDEN };
enum { NET = W3 + HIDDEN + 1 }; /* each layer: weights (in, out) by rows, then the bias */
static double net_x[NET_CASES * IN], net_y[NET_CASES];

static void net_begin(void) {
    bench_fill(net_x, NET_CASES * IN, -1, 1);
    for (int i = 0; i < NET_CASES; i++) net_y[i] = sin(3 * net_x[i * IN]) * net_x[i * IN + 1];
}
static void net_layer(const double *w, const double *x, int n, double *y) {
    for (int j = 0; j < HIDDEN; j++) y[j] = w[n * HIDDEN + j];
    for (int i = 0; i < n; i++)
        for (int j = 0; j < HIDDEN; j++) y[j] += x[i] * w[i * HIDDEN + j];
    for (int j = 0; j < HIDDEN; j++) y[j] = tanh(y[j]);
}
static double net_error(const double *w, int c, double *h1, double *h2) {
    net_layer(w, net_x + c * IN, IN, h1);
    net_layer(w + W2, h1, HIDDEN, h2);
    double y = w[W3 + HIDDEN];
    for (int i = 0; i < HIDDEN; i++) y += h2[i] * w[W3 + i];
    return y - net_y[c];
}
static double net(const double *w) {
    double f = 0, h1[HIDDEN], h2[HIDDEN];
    for (int c = 0; c < NET_CASES; c++) {
        double e = net_error(w, c, h1, h2);
        f += e * e;
    }
    return f / NET_CASES;
}
/* Adds to the gradient g of a layer's weights, and sets gx, for gradient gy of its results y. */
static void net_layer_adjoint(const double *w, const double *x, int n, const double *y, const double *gy, double *g,
                              double *gx) {
    double gz[HIDDEN];
    for (int j = 0; j < HIDDEN; j++) gz[j] = gy[j] * (1 - y[j] * y[j]);
    for (int j = 0; j < HIDDEN; j++) g[n * HIDDEN + j] += gz[j];
    for (int i = 0; i < n; i++) {
        double sum = 0;
        for (int j = 0; j < HIDDEN; j++) {
            g[i * HIDDEN + j] += x[i] * gz[j];
            sum += w[i * HIDDEN + j] * gz[j];
        }
        gx[i] = sum;
    }
}
static void net_gradient(const double *w, double *g) {
    double h1[HIDDEN], h2[HIDDEN], g1[HIDDEN], g2[HIDDEN], gx[IN];
    memset(g, 0, NET * sizeof *g);
    for (int c = 0; c < NET_CASES; c++) {
        double e = 2 * net_error(w, c, h1, h2) / NET_CASES;
        for (int i = 0; i < HIDDEN; i++) {
            g[W3 + i] += e * h2[i];
            g2[i] = e * w[W3 + i];
        }
        g[W3 + HIDDEN] += e;
        net_layer_adjoint(w + W2, h1, HIDDEN, h2, g2, g + W2, g1);
        net_layer_adjoint(w, net_x + c * IN, IN, h1, g1, g, gx);
    }
}
/* ---- a camera over 2000 points: half the sum of squares of what its picture is off --------------------------------- */

enum { POINTS = 2000, CAMERA = 10 }; /* rotation as a quaternion v, w; translation; focal length; k1, k2 of the lens */
static double camera_points[POINTS * 3], camera_seen[POINTS * 2];

static void camera_begin(void) {
    bench_fill(camera_points, (size_t)POINTS * 3, -0.5, 0.5);
    bench_fill(camera_seen, (size_t)POINTS * 2, -0.3, 0.3);
    for (int i = 0; i < POINTS; i++) camera_points[3 * i + 2] += 3;
}
/* What one point adds; and, if g is not NULL, adds the derivative by the camera to g. */
static inline double camera_point(const double *c, const double *x, const double *seen, double *g) {
    double v0 = c[0], v1 = c[1], v2 = c[2], w = c[3];
    double a0 = v1 * x[2] - v2 * x[1], a1 = v2 * x[0] - v0 * x[2], a2 = v0 * x[1] - v1 * x[0]; /* v x X */
    double p0 = x[0] + 2 * (w * a0 + v1 * a2 - v2 * a1) + c[4];
    double p1 = x[1] + 2 * (w * a1 + v2 * a0 - v0 * a2) + c[5];
    double p2 = x[2] + 2 * (w * a2 + v0 * a1 - v1 * a0) + c[6];
    double z = 1 / p2, u0 = p0 * z, u1 = p1 * z, r = u0 * u0 + u1 * u1, d = 1 + r * (c[8] + r * c[9]);
    double e0 = c[7] * d * u0 - seen[0], e1 = c[7] * d * u1 - seen[1];
    if (g == NULL) return 0.5 * (e0 * e0 + e1 * e1);
    double eu = e0 * u0 + e1 * u1, gd = c[7] * eu, gr = 2 * gd * (c[8] + 2 * r * c[9]);
    double gu0 = c[7] * d * e0 + gr * u0, gu1 = c[7] * d * e1 + gr * u1;
    double gp0 = gu0 * z, gp1 = gu1 * z, gp2 = -(gu0 * u0 + gu1 * u1) * z;
    double ga0 = 2 * (w * gp0 + gp1 * v2 - gp2 * v1), ga1 = 2 * (w * gp1 + gp2 * v0 - gp0 * v2);
    double ga2 = 2 * (w * gp2 + gp0 * v1 - gp1 * v0);
    g[0] += 2 * (a1 * gp2 - a2 * gp1) + x[1] * ga2 - x[2] * ga1;
    g[1] += 2 * (a2 * gp0 - a0 * gp2) + x[2] * ga0 - x[0] * ga2;
    g[2] += 2 * (a0 * gp1 - a1 * gp0) + x[0] * ga1 - x[1] * ga0;
    g[3] += 2 * (gp0 * a0 + gp1 * a1 + gp2 * a2);
    g[4] += gp0;
    g[5] += gp1;
    g[6] += gp2;
    g[7] += d * eu;
    g[8] += gd * r;
    g[9] += gd * r * r;
    return 0.5 * (e0 * e0 + e1 * e1);
}
static double camera(const double *c) {
    double f = 0;
    for (int i = 0; i < POINTS; i++) f += camera_point(c, camera_points + 3 * i, camera_seen + 2 * i, NULL);
    return f;
}
static void camera_gradient(const double *c, double *g) {
    double sum[CAMERA] = {0};
    for (int i = 0; i < POINTS; i++) camera_point(c, camera_points + 3 * i, camera_seen + 2 * i, sum);
    memcpy(g, sum, sizeof sum);
}

/* ---- a chain of 1000 steps, each of 8 operations: nothing to vectorise ----------------------------------------------- */

enum { STEPS = 1000 };

static double chain(const double *x) { return chain_plain(x, STEPS); }
static void chain_gradient(const double *x, double *g) {
    double store[4 * STEPS];
    chain_by_hand(x, STEPS, store, g);
}

#endif
