/* Camera calibration by Gauss-Newton: the residual of one observation is recorded once, its Jacobian is a program made from
 * that program, and each step runs it for all observations at a time. */
#include <autograd/autograd.h>
#include <lapack.h>
#include <math.h>
#include <stdlib.h>

enum { CAMERA = 9, POINTS = 2000 }; /* rotation vector, position, focal length, two coefficients of distortion */

static void rotate(const ag_var *r, const ag_var *v, ag_var *out) {
    ag_var square = ag_fma(r[0], r[0], ag_fma(r[1], r[1], ag_mul(r[2], r[2]))), angle = ag_sqrt(square);
    ag_var dot = ag_fma(r[0], v[0], ag_fma(r[1], v[1], ag_mul(r[2], v[2])));
    ag_var c = ag_cos(angle), s = ag_div(ag_sin(angle), angle), d = ag_mul(ag_div(ag_sub(1, c), square), dot);
    for (int i = 0; i < 3; i++) {
        int j = (i + 1) % 3, k = (i + 2) % 3;
        ag_var cross = ag_sub(ag_mul(r[j], v[k]), ag_mul(r[k], v[j]));
        out[i] = ag_fma(c, v[i], ag_fma(s, cross, ag_mul(d, r[i])));
    }
}

/* Inputs: camera, a point, where it was seen. Output: how far its picture is from there. */
static void residual(ag_tape *tape, const ag_var *x, ag_var *y, void *context) {
    ag_var camera[CAMERA], relative[3], seen[3], r[2];
    (void)tape, (void)context;
    for (int i = 0; i < CAMERA; i++) camera[i] = ag_at(x[0], i);
    for (int i = 0; i < 3; i++) relative[i] = ag_sub(ag_at(x[1], i), camera[3 + i]);
    rotate(camera, relative, seen);
    ag_var u = ag_div(seen[0], seen[2]), v = ag_div(seen[1], seen[2]), q = ag_fma(u, u, ag_square(v));
    ag_var scale = ag_mul(camera[6], ag_fma(q, ag_fma(q, camera[8], camera[7]), 1));
    r[0] = ag_sub(ag_mul(scale, u), ag_at(x[2], 0));
    r[1] = ag_sub(ag_mul(scale, v), ag_at(x[2], 1));
    y[0] = ag_stack(r, 2, 0);
}

static double uniform(double lo, double hi) { return lo + (hi - lo) * rand() / RAND_MAX; }

/* Solves (J' J) step = J' r, and moves the camera by -step. */
static void move(double *camera, const double *r, const double *jacobian) {
    double normal[CAMERA * CAMERA] = {0}, step[CAMERA] = {0};
    for (int row = 0; row < 2 * POINTS; row++) {
        const double *j = jacobian + row * CAMERA;
        for (int a = 0; a < CAMERA; a++) {
            step[a] += j[a] * r[row];
            for (int b = 0; b <= a; b++) normal[b * CAMERA + a] += j[a] * j[b];
        }
    }
    int n = CAMERA, one = 1, info;
    LAPACK_dposv("L", &n, &one, normal, &n, step, &n, &info);
    for (int i = 0; i < CAMERA && info == 0; i++) camera[i] -= step[i];
}

int main(void) {
    const double truth[CAMERA] = {0.1, -0.2, 0.05, 0.3, -0.1, -8, 800, -0.2, 0.05};
    double camera[CAMERA] = {0.05, -0.1, 0.01, 0, 0, -7, 600, 0, 0};
    static double points[POINTS][3], pixels[POINTS][2], zero[2], r[POINTS][2], jacobian[POINTS][2][CAMERA];

    const ag_port in[] = {ag_in("camera", AG_SHAPE(CAMERA)), ag_in("point", AG_SHAPE(3)), ag_in("pixel", AG_SHAPE(2))};
    const ag_port out[] = {ag_out("residual")};
    ag_program *program = ag_program_trace(AG_F64, residual, NULL, in, 3, out, 1);
    ag_program *derivative = ag_program_jacobian(program, 0, 0); /* residual, and d residual / d camera */
    ag_runner *runner = ag_runner_new(derivative);
    printf("residual: %lld operations; with its 2 x %d Jacobian: %lld\n", (long long)ag_program_size(program), CAMERA,
           (long long)ag_program_size(derivative));

    for (int i = 0; i < POINTS; i++) /* what the true camera sees */
        for (int k = 0; k < 3; k++) points[i][k] = uniform(-2, 2);
    ag_run_rows(runner, POINTS, (ag_column[]){ag_shared(truth), ag_each(points), ag_shared(zero)},
                (ag_column[]){ag_each(pixels), ag_each(NULL)});

    const ag_column given[] = {ag_shared(camera), ag_each(points), ag_each(pixels)};
    const ag_column wanted[] = {ag_each(r), ag_each(jacobian)};
    double length = 0;
    for (int step = 0; step <= 8; step++) {
        if (ag_run_rows(runner, POINTS, given, wanted) != AG_OK) break;
        length = 0;
        for (int i = 0; i < POINTS; i++) length += r[i][0] * r[i][0] + r[i][1] * r[i][1];
        length = sqrt(length / (2 * POINTS));
        printf("step %d: error %.3g pixels, focal length %.6f\n", step, length, camera[6]);
        move(camera, r[0], jacobian[0][0]);
    }
    printf("%s\n", length < 1e-6 ? "calibrated" : ag_runner_message(runner));
    ag_runner_free(runner);
    ag_program_free(derivative);
    ag_program_free(program);
    return length < 1e-6 ? 0 : 1;
}
