/* The fuzzer of weights and checkpoints, without libFuzzer: on the inputs in tests/corpus/keep, and on these with bytes changed,
 * the same at every run. */
#include "corpus.h"
#include "fuzz_keep.c"

enum { CHANGED = 100 }; /* of each input */

static int loaded;

static void run_saved(uint8_t *data, size_t size, void *context) {
    uint8_t *copy = malloc(size + (size == 0)); /* ends where the input does */
    (void)context;
    HOLDS(copy != NULL);
    memcpy(copy, data, size);
    fuzz_keep(copy, size);
    free(copy);
}

/* Changes in the data behind the header, which pass the parser, and some anywhere. */
static void run_changed(uint8_t *data, size_t size, void *context) {
    uint8_t changed[CORPUS_LONGEST];
    uint32_t random = (uint32_t)size;
    size_t header = size < 8 ? 0 : 8 + data[0] + 256u * data[1];
    for (int i = 0; i < CHANGED && size > 0; i++) {
        memcpy(changed, data, size);
        size_t from = i % 4 > 0 && header < size ? header : 0;
        for (uint32_t n = 1 + next_random(&random) % 4; n > 0; n--) {
            uint8_t *place = &changed[from + next_random(&random) % (size - from)];
            uint32_t how = next_random(&random) % 3, value = next_random(&random);
            *place = (uint8_t)(how == 0 ? value : how == 1 ? data[value % size] : *place ^ 1u << value % 8);
        }
        run_saved(changed, size, context);
    }
}

/* Each kind of file is among the saved ones: that the fuzzer's model takes, or not. */
static void count_loaded(uint8_t *data, size_t size, void *context) {
    training t;
    int how = *(int *)context;
    nn_error e = {0};
    nn_safetensors f = {0};
    nn_safetensors_parse("f", data, size, &f, &e);
    open_training(&t);
    if (how == 0) (void)nn_model_load_from(t.model, &f, "f", (nn_load_options){0}, &e);
    else nn_checkpoint_load_from(t.model, &f, "f", t.kept, 5, &e);
    loaded += e.status == AG_OK;
    close_training(&t);
    nn_safetensors_close(&f);
}

static void corpus(void **unused) {
    (void)unused;
    assert_true(each_input("keep", run_saved, NULL) >= 8);
    (void)each_input("keep", run_changed, NULL);
    for (int how = 0; how < 2; how++) {
        loaded = 0;
        (void)each_input("keep", count_loaded, &how);
        assert_true(loaded > 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(corpus)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
