/* How a document's claims are written down. */
#ifndef NN_CHECK_DOCUMENTS_IMPL_H
#define NN_CHECK_DOCUMENTS_IMPL_H

#include "nn/check/documents.h"
#include "nn/random.h"

/* One draw of a claim: an empty tape and random numbers to work with, and the two sides that `compute` leaves. */
struct nn_derivation {
    ag_tape *tape;
    nn_random random;
    /* the right side, from the tape */
    ag_shape shape;
    double right[NN_DOCUMENT_ENTRIES];
    /* a law's claimed side, from the document's formula in plain C; not used where numbers are printed */
    double claimed[NN_DOCUMENT_ENTRIES];
    /* for the diagnosis, where they are named: see nn_claim */
    double base[NN_DOCUMENT_ENTRIES], term[NN_DOCUMENT_ENTRIES];
    const char *base_name, *term_name;
    nn_named_size size;
};
typedef struct nn_derivation nn_derivation;

/* Sets the right side: the value of a var, or the derivative by it of what was swept last. */
void nn_right_value(nn_derivation *d, ag_var x);
void nn_right_grad(nn_derivation *d, ag_var x);

/* The formulas that the documents share. */
double nn_sigmoid(double z);
void nn_softmax(const double *z, int k, double *p);
double nn_dot(const double *x, const double *y, int n);
ag_var nn_record_sigmoid(ag_var z);          /* 1 / (1 + e^-z) */
ag_var nn_record_softmax(ag_var z);          /* e^z / sum e^z, along the last axis */
ag_var nn_record_bce(ag_var yhat, ag_var y); /* -(y log yhat + (1 - y) log(1 - yhat)) */

extern const nn_document nn_document_000, nn_document_001, nn_document_002, nn_document_003, nn_document_004;

#define NN_DOCUMENT(file, title, claims)                                                                               \
    { file, title, claims, (int)(sizeof(claims) / sizeof(claims)[0]) }

#endif
