/* nn_fit goes on: after a failure, a signal, a limit or an early end, bit for bit as if there had been none. */
#include "fit_task.h"

#include <unistd.h>

/* Weights after training in one go. */
static void train_whole(bool traced, int64_t accumulate, float *weights) {
    task k;
    open_task(&k, traced);
    nn_fit_options o = options_of(&k);
    o.accumulate = accumulate;
    fit(&k, o);
    read_weights(&k, weights);
    close_task(&k);
}

/* Training that is cut off again and again, each time later, each time gone on with from the file alone. */
static void goes_on_bit_for_bit(void **state) {
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        bool traced = kind & 1;
        int64_t accumulate = kind & 2 ? 2 : 0;
        float whole[MOST_WEIGHTS] = {0}, parts[MOST_WEIGHTS] = {0};
        char path[512];
        snprintf(path, sizeof path, "%s", path_of("training.safetensors"));
        (void)unlink(path);
        train_whole(traced, accumulate, whole);
        int runs = 0;
        for (nn_fitted f = {0}; f.ending != NN_ENDED_EPOCHS || runs == 0; runs++) {
            task k; /* as another process would */
            open_task(&k, traced);
            k.fail_at = 4 + runs % 3;
            nn_fit_options o = options_of(&k);
            o.after_epoch = NULL;
            o.accumulate = accumulate;
            o.checkpoint = path;
            o.checkpoint_steps = accumulate ? 1 : 2;
            f = nn_fit(&o, &k.e);
            if (k.e.status != AG_OK && strcmp(k.e.message, "killed") != 0) fail_msg("%s", k.e.message);
            assert_int_equal(f.ending == NN_FAILED, k.e.status != AG_OK);
            if (f.ending == NN_ENDED_EPOCHS) {
                assert_int_equal(f.last.epoch, EPOCHS);
                read_weights(&k, parts);
            }
            close_task(&k);
            assert_true(runs < 40);
        }
        assert_true(runs > 4);
        for (int i = 0; i < MOST_WEIGHTS; i++)
            if (memcmp(&whole[i], &parts[i], sizeof *whole) != 0)
                fail_msg("%s, %d batches a step: weight %d is %.9g, should be %.9g", traced ? "traced" : "eager",
                         (int)accumulate, i, (double)parts[i], (double)whole[i]);
    }
}

static void interrupted(void **state) {
    (void)state;
    float whole[MOST_WEIGHTS] = {0}, parts[MOST_WEIGHTS] = {0};
    char path[512];
    snprintf(path, sizeof path, "%s", path_of("interrupted.safetensors"));
    train_whole(true, 0, whole);
    for (int run = 0; run < 2; run++) {
        task k;
        open_task(&k, true);
        k.raise_at = run == 0 ? 8 : 0;
        nn_fit_options o = options_of(&k);
        o.checkpoint = path;
        nn_fitted f = fit(&k, o);
        assert_int_equal(f.ending, run == 0 ? NN_INTERRUPTED : NN_ENDED_EPOCHS);
        assert_int_equal(f.last.epoch, run == 0 ? 1 : EPOCHS);
        read_weights(&k, parts);
        close_task(&k);
    }
    assert_memory_equal(whole, parts, sizeof whole);
    struct sigaction now;
    assert_int_equal(sigaction(SIGINT, NULL, &now), 0);
    assert_true(now.sa_handler == SIG_DFL);
}

static bool interrupt(void *context, const nn_epoch *q) {
    if (q->epoch == *(const int64_t *)context) raise(SIGINT);
    return true;
}

/* A signal between two epochs, or behind the last one: nothing more is trained, and the caller hears of it. */
static void interrupted_between_epochs(void **state) {
    (void)state;
    for (int64_t at = EPOCHS - 1; at <= EPOCHS; at++) {
        float whole[MOST_WEIGHTS] = {0}, parts[MOST_WEIGHTS] = {0};
        char path[512];
        snprintf(path, sizeof path, "%s", path_of("between.safetensors"));
        (void)unlink(path);
        train_whole(false, 0, whole);
        for (int run = 0; run < 2; run++) {
            task k;
            open_task(&k, false);
            nn_fit_options o = options_of(&k);
            o.checkpoint = path;
            o.after_epoch = run == 0 ? interrupt : NULL;
            o.context = &at;
            nn_fitted f = fit(&k, o);
            assert_int_equal(f.ending, run == 0 ? NN_INTERRUPTED : NN_ENDED_EPOCHS);
            assert_int_equal(f.last.epoch, run == 0 ? at : EPOCHS);
            if (run == 0) assert_int_equal(nn_optimiser_steps(k.optimiser), f.last.steps);
            read_weights(&k, parts);
            close_task(&k);
        }
        assert_memory_equal(whole, parts, sizeof whole);
    }
}

/* Training in which a limit on steps comes in the middle of an epoch, at its end, or inside its last group of batches. */
static void goes_on_after_a_limit(void **state) {
    (void)state;
    enum { LAST = 9, KINDS = 3 };
    for (int kind = 0; kind < 2 * KINDS * LAST; kind++) {
        bool traced = kind & 1;
        int64_t accumulate = 1 + kind / 2 % KINDS, limit = 1 + kind / 2 / KINDS;
        float whole[MOST_WEIGHTS] = {0}, parts[MOST_WEIGHTS] = {0};
        nn_fitted ends[2];
        char path[512];
        snprintf(path, sizeof path, "%s", path_of("limit.safetensors"));
        (void)unlink(path);
        for (int run = 0; run < 3; run++) { /* whole; its start; the rest */
            task k;
            open_task(&k, traced);
            nn_fit_options o = options_of(&k);
            o.accumulate = accumulate;
            o.epochs = 3;
            o.steps = run == 1 ? limit : 0;
            o.checkpoint = run > 0 ? path : NULL;
            nn_fitted f = fit(&k, o);
            int64_t each = (5 + accumulate - 1) / accumulate; /* steps of an epoch */
            bool over = run != 1 || limit > 3 * each;
            assert_int_equal(f.ending, NN_ENDED_EPOCHS);
            assert_int_equal(f.last.epoch, over ? 3 : limit / each);
            assert_int_equal(f.last.steps, f.last.epoch * each);
            assert_int_equal(nn_optimiser_steps(k.optimiser), over ? 3 * each : limit);
            if (run != 1) {
                read_weights(&k, run == 0 ? whole : parts);
                ends[run / 2] = f;
                ends[run / 2].last.seconds = 0;
            }
            close_task(&k);
        }
        assert_memory_equal(whole, parts, sizeof whole);
        assert_memory_equal(&ends[0].last.loss, &ends[1].last.loss, sizeof(double));
        assert_memory_equal(ends[0].last.metrics, ends[1].last.metrics, sizeof ends[0].last.metrics);
    }
}

/* One loader, no checkpoint: what follows a limit is a whole epoch after an epoch's end, else the rest of one. */
static void one_loader_for_two(void **state) {
    (void)state;
    for (int64_t limit = 5; limit < 8; limit += 2) {
        task k;
        open_task(&k, true);
        nn_fit_options o = options_of(&k);
        o.after_epoch = NULL;
        o.steps = limit;
        nn_fitted f = fit(&k, o);
        assert_int_equal(f.last.epoch, 1);
        o.steps = 0;
        o.epochs = 1;
        o.accumulate = 2;
        f = fit(&k, o);
        assert_int_equal(f.last.steps,
                         limit == 5 ? 3 : 2); /* of 5 batches, or of the 3 that are left of the second epoch */
        assert_true(isfinite(f.last.loss));
        assert_int_equal(nn_loader_where(k.train).position, 0);
        close_task(&k);
    }
}

/* Training that ended early has ended: run again, it says so. */
static void what_ended_early_stays_ended(void **state) {
    (void)state;
    float ended[MOST_WEIGHTS] = {0}, again[MOST_WEIGHTS] = {0};
    char path[512];
    snprintf(path, sizeof path, "%s", path_of("early.safetensors"));
    for (int run = 0; run < 4; run++) {
        task k;
        open_task(&k, true);
        nn_fit_options o = options_of(&k);
        o.epochs = 50;
        o.least_gain = 1e9;
        o.patience = run < 3 ? 2 : 4; /* more of it goes on */
        o.checkpoint = path;
        nn_fitted f = fit(&k, o);
        assert_int_equal(f.ending, NN_ENDED_EARLY);
        assert_int_equal(f.last.epoch, run < 3 ? 3 : 5);
        assert_int_equal(k.batches, run == 0 ? 3 * 5 : run < 3 ? 0 : 2 * 5);
        read_weights(&k, run == 0 ? ended : again);
        if (run == 1 || run == 2) assert_memory_equal(ended, again, sizeof ended);
        close_task(&k);
    }
}

/* Of the epoch that was cut off, too. */
static void metrics_of_training_go_on(void **state) {
    (void)state;
    double metrics[2][2];
    for (int cut = 0; cut < 2; cut++) {
        char path[512];
        snprintf(path, sizeof path, "%s", path_of("metrics.safetensors"));
        for (int run = 1 - cut; run < 2; run++) {
            task k;
            open_task(&k, true);
            k.raise_at = run == 0 ? 8 : 0; /* in the second epoch */
            nn_fit_options o = options_of(&k);
            o.validation = NULL;
            o.epochs = 2;
            o.checkpoint = cut ? path : NULL;
            nn_fitted f = fit(&k, o);
            assert_int_equal(f.ending, run == 0 ? NN_INTERRUPTED : NN_ENDED_EPOCHS);
            memcpy(metrics[cut], f.last.metrics, sizeof metrics[cut]);
            close_task(&k);
        }
    }
    assert_memory_equal(metrics[0], metrics[1], sizeof metrics[0]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goes_on_bit_for_bit),        cmocka_unit_test(interrupted),
        cmocka_unit_test(interrupted_between_epochs), cmocka_unit_test(goes_on_after_a_limit),
        cmocka_unit_test(one_loader_for_two),         cmocka_unit_test(what_ended_early_stays_ended),
        cmocka_unit_test(metrics_of_training_go_on),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
