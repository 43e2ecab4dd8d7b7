/* What parameters start from. */
#include "nn/initial.h"
#include "nn/memory.h"
#include "nn/random.h"

#include <lapack.h>
#include <limits.h>
#include <math.h>

/* Standard normal, drawn again until it is within +-2. */
static double truncated(nn_random *random) {
    double z = nn_random_normal(random);
    while (fabs(z) > 2) z = nn_random_normal(random);
    return z;
}

/* The orthogonal factor of a random matrix, with signs by which each matrix is as likely as any other (Mezzadri,
 * arXiv:math-ph/0609050): of `tall` columns in rows of length `wide`, column-major for LAPACK, so row-major `tall` rows. */
static bool orthogonal(nn_random *random, int64_t tall, int64_t wide, double *q) {
    lapack_int n = (lapack_int)wide, k = (lapack_int)tall, info = 0, size = 64 * k;
    double *work = nn_allocate((size_t)size + 2 * (size_t)k, sizeof *work);
    if (work == NULL) return false;
    double *tau = work + size, *sign = tau + k;
    nn_fill_normal(random, q, tall * wide, 1);
    LAPACK_dgeqrf(&n, &k, q, &n, tau, work, &size, &info);
    for (int64_t i = 0; i < tall; i++) sign[i] = q[i * wide + i] < 0 ? -1 : 1;
    LAPACK_dorgqr(&n, &k, &k, q, &n, tau, work, &size, &info);
    for (int64_t i = 0; i < tall; i++)
        for (int64_t j = 0; j < wide; j++) q[i * wide + j] *= sign[i];
    nn_release(work);
    return true;
}

static bool fill_orthogonal(nn_random *random, int64_t rows, int64_t columns, double gain, double *x) {
    int64_t tall = rows < columns ? rows : columns, wide = rows < columns ? columns : rows;
    if (wide > INT_MAX || tall > INT_MAX / 64) return false;
    double *q = nn_allocate((size_t)(rows * columns), sizeof *q);
    bool done = q != NULL && orthogonal(random, tall, wide, q);
    for (int64_t i = 0; done && i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            x[i * columns + j] = gain * (rows < columns ? q[i * columns + j] : q[j * rows + i]);
    nn_release(q);
    return done;
}

bool nn_fill_initial(uint64_t seed, ag_shape shape, nn_initial initial, double gain, double *x, int64_t count) {
    nn_random random = {seed};
    double window = 1, first = shape.rank > 0 ? (double)shape.dim[0] : 1;
    for (int i = 2; i < shape.rank; i++) window *= (double)shape.dim[i];
    double in = shape.rank < 2 ? (double)count : window * (double)shape.dim[1];
    double out = shape.rank < 2 ? (double)count : window * first;
    bool glorot = initial == NN_GLOROT_UNIFORM || initial == NN_GLOROT_NORMAL;
    double deviation = gain * sqrt(2 / (glorot ? in + out : in)), limit = sqrt(3) * deviation;
    if (initial == NN_DEFAULT) limit = gain / sqrt(in);
    if (initial == NN_UNIFORM) limit = gain;
    if (initial == NN_GAUSSIAN) deviation = gain;
    if (initial == NN_ORTHOGONAL && shape.rank >= 2)
        return fill_orthogonal(&random, shape.dim[0], count / shape.dim[0], gain, x);
    if (initial == NN_ORTHOGONAL) return fill_orthogonal(&random, 1, count, gain, x);
    for (int64_t i = 0; i < count; i++) switch (initial) {
        case NN_ZEROS: break;
        case NN_ONES: x[i] = gain; break;
        case NN_DEFAULT:
        case NN_UNIFORM:
        case NN_GLOROT_UNIFORM:
        case NN_HE_UNIFORM: x[i] = nn_random_uniform(&random, -limit, limit); break;
        case NN_GAUSSIAN:
        case NN_GLOROT_NORMAL:
        case NN_HE_NORMAL: x[i] = deviation * nn_random_normal(&random); break;
        case NN_TRUNCATED_GAUSSIAN: x[i] = gain * truncated(&random); break;
        case NN_ORTHOGONAL:
        case NN_INITIALS: break;
        }
    return true;
}
