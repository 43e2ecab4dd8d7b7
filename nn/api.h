/* What all headers of nn share. */
#ifndef NN_API_H
#define NN_API_H

#include <autograd/autograd.h>

#if defined(__GNUC__)
#define NN_API __attribute__((visibility("default")))
#else
#define NN_API
#endif

#endif
