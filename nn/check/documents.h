/* Five hand-written derivations, every law and number that they state, and what the tape says to each. */
#ifndef NN_CHECK_DOCUMENTS_H
#define NN_CHECK_DOCUMENTS_H

#include "nn/check/claim.h"
#include "nn/nn.h"

enum { NN_DOCUMENT_ENTRIES = 16, NN_DOCUMENT_DRAWS = 200 };

/* One draw of a claim; see documents_impl.h. */
struct nn_derivation;

/* What a document states. */
typedef struct nn_document_claim {
    const char *label;
    const char *printed; /* the numbers as printed, or NULL for a law */
    /* Records the computation at one draw and leaves both sides. */
    void (*compute)(struct nn_derivation *derivation);
} nn_document_claim;

typedef struct nn_document {
    const char *file, *title;
    const nn_document_claim *claims;
    int claim_count;
} nn_document;

/* What was found about one claim. */
typedef struct nn_document_finding {
    ag_status status; /* AG_OK unless the claim could not be checked; then `message` says why */
    char message[256];
    int draws;
    nn_comparison comparison;
    nn_diagnosis diagnosis;
    ag_shape claimed_shape, right_shape;
    double claimed[NN_DOCUMENT_ENTRIES], right[NN_DOCUMENT_ENTRIES]; /* at the worst draw */
} nn_document_finding;

/* An array of *count pointers. */
NN_API const nn_document *const *nn_documents(int *count);
/* Checks a claim on a tape of its own. The same seed gives the same random inputs. */
NN_API nn_document_finding nn_document_check(const nn_document_claim *claim, uint64_t seed);

#endif
