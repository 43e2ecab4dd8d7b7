/* Convolution as a form of three tensors, x of (images, groups * channels, size), w of (groups * filters, channels,
 * kernel) and y of (images, groups * filters, out):
 *
 *     T(x, w, y) = sum y[n, m, o] w[m, c, t] x[n, c, o * stride - padding + t * dilation]
 *
 * Each of the three linear operations is the derivative of T by one of them: the convolution by y, the transposed
 * convolution by x, the gradient of the weights by w. So each one's derivatives are the other two. */
#ifndef AG_CONVOLUTION_IMPL_H
#define AG_CONVOLUTION_IMPL_H

#include "ops_impl.h"

enum { CONV_X, CONV_W, CONV_Y, CONV_ROLES };

typedef struct ag_convolution {
    int64_t images, groups, channels, filters; /* channels and filters: of a group */
    int64_t size[2], kernel[2], out[2], stride[2], padding[2], dilation[2];
} ag_convolution;

/* Numbers in the tensor of a role. */
int64_t ag_convolution_count(const ag_convolution *c, int role);

/* data[role] = (or, unless `store`, +=) the derivative of T by it. bias (NULL: none): what each channel of the result
 * starts from, for CONV_X and CONV_Y. False, and an error, without memory. */
bool ag_convolve(const ag_call *call, const ag_convolution *c, int role, void *const data[CONV_ROLES], const void *bias,
                 bool store);

#endif
