/* The tables that the compilations of kernels.c export. */
#ifndef AG_KERNELS_IMPL_H
#define AG_KERNELS_IMPL_H

#include "ops_impl.h"

extern const ag_kernels ag_kernels_f64_base, ag_kernels_f32_base;
extern const ag_kernels ag_kernels_f64_v3, ag_kernels_f32_v3; /* where AG_HAVE_V3 */
extern const ag_kernels ag_kernels_f64_v4, ag_kernels_f32_v4; /* where AG_HAVE_V4 */

#endif
