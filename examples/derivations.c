/* Five hand-written derivations: for each law and number in them, does it hold, and if not, what is wrong
 * with it? The right values are the tape's. First the closed forms that such derivations rest on are checked.
 *
 * A wrong claim is a finding, not a failure: the exit status is 0 if everything could be checked. */
#include "nn/check/documents.h"

#include <stdio.h>
#include <stdlib.h>

enum { SEED = 1 };

typedef struct tally {
    int claims, hold, wrong, failed;
} tally;

static void add(tally *t, const tally *more) {
    t->claims += more->claims;
    t->hold += more->hold;
    t->wrong += more->wrong;
    t->failed += more->failed;
}

static void print_tally(const char *name, const tally *t) {
    printf("%s: %d claims, %d hold, %d wrong", name, t->claims, t->hold, t->wrong);
    if (t->failed > 0) printf(", %d could not be checked", t->failed);
    printf("\n");
}

/* Prints those that do not hold, then how many do. */
static tally check_closed_forms(void) {
    int count;
    const nn_closed_form *forms = nn_closed_forms(&count);
    tally t = {0};
    double worst = 0;
    for (int i = 0; i < count; i++) {
        nn_closed_form_report report;
        t.claims++;
        if (nn_closed_form_check(&forms[i], NN_DOCUMENT_DRAWS, SEED, &report)) {
            t.hold++;
            worst = report.worst.error > worst ? report.worst.error : worst;
            continue;
        }
        t.failed += report.status != AG_OK;
        t.wrong += report.status == AG_OK;
        nn_closed_form_write(&forms[i], &report, stdout);
    }
    printf("%d of %d closed forms hold at %d random inputs each, worst error %.1e\n\n", t.hold, t.claims,
           NN_DOCUMENT_DRAWS, worst);
    return t;
}

static void print_wrong(const nn_document_claim *claim, const nn_document_finding *found) {
    char right[512], claimed[512];
    nn_array_text(found->right_shape, found->right, 6, right, sizeof right);
    nn_array_text(found->claimed_shape, found->claimed, 6, claimed, sizeof claimed);
    printf("  WRONG  %-58s %s: %s\n", claim->label, nn_diagnosis_name(found->diagnosis.kind), found->diagnosis.detail);
    printf("             claimed %s\n", claim->printed != NULL ? claim->printed : claimed);
    printf("             right   %s\n", right);
}

static void print_holds(const nn_document_claim *claim, const nn_document_finding *found) {
    char right[512];
    if (claim->printed == NULL) {
        printf("  holds  %-58s law, %d draws, worst error %.1e\n", claim->label, found->draws, found->comparison.error);
    } else {
        nn_array_text(found->right_shape, found->right, 6, right, sizeof right);
        printf("  holds  %-58s claimed %s, right %s\n", claim->label, claim->printed, right);
    }
}

static tally check_document(const nn_document *document) {
    tally t = {0};
    printf("%s: %s\n", document->file, document->title);
    for (int i = 0; i < document->claim_count; i++) {
        const nn_document_claim *claim = &document->claims[i];
        nn_document_finding found = nn_document_check(claim, SEED);
        t.claims++;
        if (found.status != AG_OK) {
            t.failed++;
            printf("  failed %-58s %s\n", claim->label, found.message);
        } else if (found.comparison.holds) {
            t.hold++;
            print_holds(claim, &found);
        } else {
            t.wrong++;
            print_wrong(claim, &found);
        }
    }
    printf("  ");
    print_tally(document->file, &t);
    printf("\n");
    return t;
}

int main(void) {
    int count;
    const nn_document *const *documents = nn_documents(&count);
    tally forms = check_closed_forms(), total = {0};
    for (int i = 0; i < count; i++) {
        tally t = check_document(documents[i]);
        add(&total, &t);
    }
    print_tally("total", &total);
    return total.failed + forms.failed + forms.wrong == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
