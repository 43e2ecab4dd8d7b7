/* Checkpoints: training goes on bit for bit; whatever happens while one is written, the last one is there. */
#include "data_files.h"

#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "nn/keep/keep_impl.h"
#include "nn/nn.h"

enum { SAMPLES = 22, INPUTS = 3, NUMBERS = 3 * 8 + 8 + 8 + 1 + 8 };
typedef enum method { SGD, ADAM, ADAMW, RMSPROP, ADAGRAD, LION, LBFGS, METHODS } method;

/* Everything that training has. */
typedef struct training {
    ag_tape *tape;
    nn_model *model;
    nn_dense hidden, output;
    ag_var mean;
    nn_array fields[2];
    nn_loader *loader, *other;
    nn_step *step;
    nn_optimiser *optimiser;
    nn_lbfgs *lbfgs;
    nn_average *average;
    nn_plateau plateau;
    nn_array history;
    double numbers[2];
    int64_t integers[1];
    nn_kept kept[8];
} training;

static void forward(void *context, const ag_var *batch, ag_var *out) {
    training *t = context;
    ag_var h = ag_tanh(nn_dense_apply(t->hidden, batch[0]));
    ag_var mean = ag_mean_over(h, AG_AXES(0), false);
    nn_model_update(t->model, t->mean, ag_add(ag_mul(0.9, t->mean), ag_mul(0.1, ag_detach(mean))));
    h = ag_mul(ag_sub(h, ag_mul(0.1, t->mean)), ag_add(1, ag_mul(0.01, nn_model_clock(t->model))));
    ag_var y = ag_reshape(nn_dense_apply(t->output, h), ag_shape_of(batch[1]));
    out[0] = ag_mean(ag_square(ag_sub(y, batch[1])));
}

static nn_optimiser *optimiser_of(nn_model *model, method m) {
    switch (m) {
    case SGD: return nn_sgd(model, (nn_sgd_options){.rate = 0.02, .momentum = 0.9});
    case ADAM: return nn_adam(model, (nn_adam_options){.rate = 0.02, .amsgrad = true});
    case ADAMW: return nn_adamw(model, (nn_adam_options){.rate = 0.02});
    case RMSPROP: return nn_rmsprop(model, (nn_rmsprop_options){.rate = 0.02, .momentum = 0.5, .centred = true});
    case ADAGRAD: return nn_adagrad(model, (nn_adagrad_options){.rate = 0.02, .rate_decay = 0.01});
    case LION: return nn_lion(model, (nn_lion_options){.rate = 0.02});
    default: return NULL;
    }
}

static nn_loader *loader_of(training *t, int64_t batch, uint64_t seed) {
    nn_error e = {0};
    nn_dataset set = nn_dataset_of(t->fields, 2, &e);
    nn_loader *loader = nn_loader_new(&set, &(nn_loader_options){.batch = batch, .shuffle = true, .seed = seed}, &e);
    assert_fine(&e);
    nn_dataset_free(&set);
    return loader;
}

static void open_training(training *t, method m, ag_type type, uint64_t seed) {
    nn_error e = {0};
    *t = (training){.tape = ag_tape_new(type), .plateau = {.rate = 0.02, .patience = 1}};
    t->model = nn_model_new(t->tape, seed);
    t->hidden = nn_dense_init(t->model, "hidden", INPUTS, 8, (nn_dense_options){0});
    t->output = nn_dense_init(t->model, "output", 8, 1, (nn_dense_options){0});
    t->mean = nn_buffer(t->model, "mean", AG_SHAPE(8), NN_ZEROS);
    t->fields[0] = nn_array_new(NN_F32, AG_SHAPE(SAMPLES, INPUTS), &e);
    t->fields[1] = nn_array_new(NN_F32, AG_SHAPE(SAMPLES), &e);
    for (int i = 0; i < SAMPLES * INPUTS; i++) ((float *)t->fields[0].data)[i] = (float)sin(1.3 * i);
    for (int i = 0; i < SAMPLES; i++) ((float *)t->fields[1].data)[i] = (float)cos(3.9 * i);
    t->loader = loader_of(t, 4, 7);
    t->other = loader_of(t, 6, 7);
    t->step = nn_step_new(t->model, forward, t, (nn_step_options){.traced = seed % 2});
    t->optimiser = optimiser_of(t->model, m);
    if (m == LBFGS) t->lbfgs = nn_lbfgs_new(t->model, (nn_lbfgs_options){.iterations = 2, .history = 3});
    t->average = nn_average_new(t->model, 0.9);
    assert_fine(&e);
    const nn_kept kept[] = {{"train", .loader = t->loader},
                            {"optimiser", .optimiser = t->optimiser},
                            {"lbfgs", .lbfgs = t->lbfgs},
                            {"average", .average = t->average},
                            {"plateau", .plateau = &t->plateau},
                            {"history", .array = &t->history},
                            {"best", .numbers = t->numbers, .count = 2},
                            {"epoch", .integers = t->integers, .count = 1}};
    memcpy(t->kept, kept, sizeof kept);
}

static void close_training(training *t) {
    nn_array_free(&t->history);
    nn_average_free(t->average);
    nn_lbfgs_free(t->lbfgs);
    nn_optimiser_free(t->optimiser);
    nn_step_free(t->step);
    nn_loader_free(t->loader), nn_loader_free(t->other);
    nn_array_free(&t->fields[0]), nn_array_free(&t->fields[1]);
    nn_model_free(t->model);
    ag_tape_free(t->tape);
}

static nn_batch current;
static double loss_of(void *context) {
    training *t = context;
    return nn_step_run(t->step, current.fields, current.field_count, NN_GRADIENTS);
}

/* Steps; the sum of their losses. */
static double train(training *t, int steps) {
    nn_error e = {0};
    double sum = 0;
    for (int i = 0; i < steps; i++) {
        if (!nn_loader_next(t->loader, &current, &e)) {
            t->integers[0]++;
            assert_true(nn_loader_next(t->loader, &current, &e));
        }
        assert_fine(&e);
        double loss = t->lbfgs != NULL ? nn_lbfgs_step(t->lbfgs, loss_of, t) : loss_of(t);
        if (t->optimiser != NULL) {
            nn_optimiser_step(t->optimiser);
            nn_optimiser_set_rate(t->optimiser, nn_plateau_rate(&t->plateau, loss));
        }
        nn_average_update(t->average);
        t->numbers[i % 2] = loss;
        sum += loss;
    }
    if (ag_tape_status(t->tape) != AG_OK) fail_msg("%s", ag_tape_message(t->tape));
    return sum;
}

static void remember(training *t, int64_t count) {
    nn_error e = {0};
    nn_array_free(&t->history);
    t->history = nn_array_new(NN_F64, AG_SHAPE(count, 2), &e);
    for (int64_t i = 0; i < 2 * count; i++) ((double *)t->history.data)[i] = 0.1 * (double)i;
    assert_fine(&e);
}

/* Weights, buffer, clock, averages, as doubles. */
static void numbers_of(const training *t, double *numbers) {
    int k = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < 4; i++) {
            ag_read(nn_parameter_at(t->model, i), numbers + k);
            k += (int)ag_count(nn_parameter_at(t->model, i));
        }
        if (pass == 0) nn_average_swap(t->average);
    }
    nn_average_swap(t->average);
    ag_read(t->mean, numbers + k);
    numbers[k + 8] = ag_value(nn_model_clock(t->model));
    assert_int_equal(k + 9, 2 * 41 + 9);
}

static void expect_same(const training *a, const training *b) {
    double x[91], y[91];
    numbers_of(a, x);
    numbers_of(b, y);
    assert_memory_equal(x, y, sizeof x);
    assert_memory_equal(a->numbers, b->numbers, sizeof a->numbers);
    assert_int_equal(a->integers[0], b->integers[0]);
    assert_true(nn_loader_where(a->loader).position == nn_loader_where(b->loader).position);
    assert_int_equal(nn_array_count(&a->history), nn_array_count(&b->history));
    assert_memory_equal(a->history.data, b->history.data, (size_t)nn_array_count(&a->history) * 8);
}

/* ---- resuming ---- */

static void goes_on(void **unused) {
    (void)unused;
    for (int m = 0; m < METHODS; m++)
        for (int type = 0; type < 2; type++)
            for (int steps = 1; steps < 12; steps += 5) { /* in the first epoch, at its end, in the second */
                nn_error e = {0};
                training a, b;
                open_training(&a, (method)m, type ? AG_F32 : AG_F64, 1);
                open_training(&b, (method)m, type ? AG_F32 : AG_F64, 3);
                (void)train(&a, steps);
                (void)train(&b, 2);
                remember(&a, steps), remember(&b, 1);
                nn_checkpoint_save(a.model, temporary("c"), a.kept, 8, &e);
                double right = train(&a, 9);
                nn_checkpoint_load(b.model, temporary("c"), b.kept, 8, &e);
                assert_fine(&e);
                assert_true(train(&b, 9) == right);
                expect_same(&a, &b);
                close_training(&a), close_training(&b);
                assert_int_equal(unlink(temporary("c")), 0);
            }
}

static void is_weights_too(void **unused) {
    (void)unused;
    nn_error e = {0};
    training a, b;
    open_training(&a, ADAM, AG_F32, 1);
    open_training(&b, LION, AG_F64, 3);
    (void)train(&a, 3), (void)train(&b, 1);
    nn_checkpoint_save(a.model, temporary("c"), a.kept, 8, &e);
    assert_int_equal(nn_model_load(b.model, temporary("c"), (nn_load_options){0}, &e), 5);
    assert_fine(&e);
    double x[91], y[91];
    numbers_of(&a, x), numbers_of(&b, y);
    assert_memory_equal(x, y, 41 * sizeof *x);
    assert_memory_equal(x + 82, y + 82, 8 * sizeof *x);
    close_training(&a), close_training(&b);
    assert_int_equal(unlink(temporary("c")), 0);
}

/* ---- what does not fit ---- */

static void refused(training *b, const nn_kept *kept, int count, const char *message) {
    nn_error e = {0};
    double before[91], after[91];
    nn_loader_state at = nn_loader_where(b->loader), other = nn_loader_where(b->other);
    numbers_of(b, before);
    nn_checkpoint_load(b->model, temporary("c"), kept, count, &e);
    assert_error(&e, AG_ERR_VALUE, message);
    numbers_of(b, after);
    assert_memory_equal(before, after, sizeof before);
    nn_loader_state now = nn_loader_where(b->loader), other_now = nn_loader_where(b->other);
    assert_memory_equal(&at, &now, sizeof at);
    assert_memory_equal(&other, &other_now, sizeof other);
    assert_int_equal(nn_array_count(&b->history), 2);
}

static void misfits(void **unused) {
    (void)unused;
    nn_error e = {0};
    training a, b;
    nn_kept kept[9];
    open_training(&a, ADAM, AG_F32, 1);
    open_training(&b, SGD, AG_F32, 3);
    (void)train(&a, 2), (void)train(&b, 1);
    remember(&a, 3), remember(&b, 1);
    memcpy(kept, a.kept, sizeof a.kept);
    kept[8] = (nn_kept){"other", .loader = a.loader};
    nn_checkpoint_save(a.model, temporary("c"), kept, 9, &e);
    assert_fine(&e);
    refused(&b, b.kept, 8, "c: does not fit what is trained: \"checkpoint/");
    memcpy(kept, b.kept, sizeof b.kept);
    nn_optimiser *adam = optimiser_of(b.model, ADAM);
    kept[1].optimiser = adam;
    refused(&b, kept, 8, "\"checkpoint/other/options\" is not in what is trained");
    kept[8] = (nn_kept){"other", .loader = b.other};
    refused(&b, kept, 9, "checkpoint: the batch of the loader \"other\" is 6, and was 4");
    nn_loader *seeded = loader_of(&b, 4, 8);
    kept[8].loader = seeded;
    refused(&b, kept, 9, "checkpoint: the seed of the loader \"other\" is 8, and was 7");
    nn_loader_free(seeded);
    kept[8].loader = NULL;
    kept[5].count = 7; /* means nothing for an array */
    refused(&b, kept, 9, "\"checkpoint/other/options\" is not in");
    kept[8].loader = b.loader;
    kept[6].count = 1;
    refused(&b, kept, 9, "\"checkpoint/best/numbers\" is (2), not (1)");
    kept[6].count = -1;
    refused(&b, kept, 9, "\"best\" has -1 numbers");
    nn_checkpoint_save(b.model, temporary("d"), kept, 9, &e);
    assert_error(&e, AG_ERR_VALUE, "\"best\" has -1 numbers");
    kept[6].count = 2;
    kept[3].name = NULL;
    refused(&b, kept, 9, "something to keep has no name");
    nn_checkpoint_save(b.model, temporary("d"), kept, 9, &e);
    assert_error(&e, AG_ERR_VALUE, "something to keep has no name");
    kept[3].name = "optimiser2";
    kept[4].name = "best"; /* "plateau" and "numbers" of the same name */
    kept[4] = kept[6];
    nn_checkpoint_save(b.model, temporary("d"), kept, 9, &e);
    assert_error(&e, AG_ERR_VALUE, "two tensors with the name \"checkpoint/best/numbers\"");
    nn_model_save(a.model, temporary("c"), &e);
    refused(&b, b.kept, 8, "c: not a checkpoint");
    nn_optimiser_free(adam);
    close_training(&a);
    open_training(&a, ADAM, AG_F64, 1);
    nn_checkpoint_save(a.model, temporary("c"), NULL, 0, &e);
    refused(&b, NULL, 0, "\"checkpoint/clock\" is F64, not F32");
    (void)nn_buffer(a.model, "checkpoint/x", AG_SHAPE(1), NN_ZEROS);
    nn_checkpoint_save(a.model, temporary("c"), NULL, 0, &e);
    assert_error(&e, AG_ERR_VALUE, "no name may be like \"checkpoint/x\"");
    assert_int_equal(unlink(temporary("c")), 0);
    close_training(&a), close_training(&b);
}

/* Every byte changed, every length cut: an error. */
static void damaged(void **unused) {
    (void)unused;
    nn_error e = {0};
    training a, b;
    open_training(&a, SGD, AG_F32, 1), open_training(&b, SGD, AG_F32, 3);
    (void)train(&a, 2), (void)train(&b, 3);
    remember(&b, 1);
    nn_checkpoint_save(a.model, temporary("c"), a.kept, 8, &e);
    nn_content c = nn_content_read(temporary("c"), &e);
    assert_fine(&e);
    double before[91], after[91];
    int accepted = 0;
    for (size_t i = 0; i < c.size; i++) {
        nn_safetensors f = {0};
        c.bytes[i] ^= 0x10;
        nn_safetensors_parse("f", c.bytes, c.size, &f, &e);
        bool whole = e.status == AG_OK;
        nn_checkpoint_load_from(b.model, &f, "f", b.kept, 8, &e);
        if (e.status == AG_OK) accepted++;
        else assert_error(&e, AG_ERR_VALUE, "f: ");
        e = (nn_error){0};
        if (whole &&
            nn_model_load_from(b.model, &f, "f", (nn_load_options){.lenient = i % 2}, &e) > 0) { /* as weights */
            numbers_of(&a, after), numbers_of(&b, before);
            assert_memory_equal(before, after, 41 * sizeof *before);
        }
        e = (nn_error){0};
        c.bytes[i] ^= 0x10;
        nn_safetensors_close(&f);
    }
    assert_int_equal(accepted, 0);
    numbers_of(&b, before);
    for (size_t size = 0; size < c.size; size += 7) {
        nn_safetensors f = {0};
        nn_safetensors_parse("f", c.bytes, size, &f, &e);
        nn_checkpoint_load_from(b.model, &f, "f", b.kept, 8, &e);
        assert_error(&e, AG_ERR_VALUE, "f: ");
        nn_safetensors_close(&f);
    }
    numbers_of(&b, after);
    assert_memory_equal(before, after, sizeof before);
    nn_content_free(&c);
    close_training(&a), close_training(&b);
    assert_int_equal(unlink(temporary("c")), 0);
}

/* ---- disks and kills ---- */

static void expect_whole(training *a, training *b) {
    nn_error e = {0};
    nn_checkpoint_load(b->model, temporary("c"), b->kept, 8, &e);
    assert_fine(&e);
    if (a != NULL) expect_same(a, b);
}

/* A limit on the size of files, at many sizes, stands for a full disk. */
static void full_disk(void **unused) {
    (void)unused;
    nn_error e = {0};
    training a, b, c;
    struct rlimit old, small;
    open_training(&a, ADAM, AG_F32, 1), open_training(&b, ADAM, AG_F32, 3), open_training(&c, ADAM, AG_F32, 5);
    (void)train(&a, 2), (void)train(&c, 4);
    remember(&a, 3), remember(&c, 4);
    nn_checkpoint_save(a.model, temporary("c"), a.kept, 8, &e);
    nn_content whole = nn_content_read(temporary("c"), &e);
    assert_fine(&e);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    void (*before)(int) = signal(SIGXFSZ, SIG_IGN);
    for (size_t most = 0; most < whole.size; most += 160) {
        small = old;
        small.rlim_cur = most;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        nn_checkpoint_save(c.model, temporary("c"), c.kept, 8, &e);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_error(&e, AG_ERR_FILE, "c: cannot be written: File too large");
        expect_whole(&a, &b);
    }
    (void)signal(SIGXFSZ, before);
    nn_content_free(&whole);
    close_training(&a), close_training(&b), close_training(&c);
    assert_int_equal(unlink(temporary("c")), 0);
}

static void pause_for(long nanoseconds) {
    struct timespec t = {0, nanoseconds};
    (void)nanosleep(&t, NULL);
}

static void write_for_ever(training *t, int64_t first) {
    nn_error e = {0};
    for (t->integers[0] = first; e.status == AG_OK; t->integers[0]++)
        nn_checkpoint_save(t->model, temporary("c"), t->kept, 8, &e);
    _exit(1);
}

/* A process that writes one checkpoint after another is killed at any moment. */
static void killed(void **unused) {
    (void)unused;
    nn_error e = {0};
    training a, b;
    int64_t last = 0;
    open_training(&a, ADAM, AG_F32, 1), open_training(&b, ADAM, AG_F32, 3);
    (void)train(&a, 2);
    remember(&a, 1000);
    nn_checkpoint_save(a.model, temporary("c"), a.kept, 8, &e);
    assert_fine(&e);
    for (int round = 0; round < 40; round++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) write_for_ever(&a, last);
        pause_for(200000 + 733331L * round);
        assert_int_equal(kill(child, SIGKILL), 0);
        int status = 0;
        assert_true(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
        expect_whole(NULL, &b);
        assert_true(b.integers[0] >= last && nn_array_count(&b.history) == 2000);
        last = b.integers[0];
    }
    assert_true(last > 0);
    nn_checkpoint_save(a.model, temporary("c"), a.kept, 8, &e);
    assert_fine(&e);
    close_training(&a), close_training(&b);
    assert_int_equal(unlink(temporary("c")), 0); /* the group's end checks that no other file is left */
}

/* Two processes write the same file, and a third reads it. */
static void two_writers(void **unused) {
    (void)unused;
    nn_error e = {0};
    training a, b;
    open_training(&a, SGD, AG_F32, 1), open_training(&b, SGD, AG_F32, 3);
    (void)train(&a, 1);
    remember(&a, 1000);
    nn_checkpoint_save(a.model, temporary("c"), a.kept, 8, &e);
    pid_t children[2];
    for (int i = 0; i < 2; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        for (int k = 0; children[i] == 0 && k < 100; k++) nn_checkpoint_save(a.model, temporary("c"), a.kept, 8, &e);
        if (children[i] == 0) _exit(e.status != AG_OK);
    }
    for (int running = 2, status; running > 0;) {
        expect_whole(&a, &b);
        pid_t ended = waitpid(-1, &status, WNOHANG);
        if (ended > 0) assert_int_equal(status, 0);
        running -= ended > 0;
    }
    close_training(&a), close_training(&b);
    assert_int_equal(unlink(temporary("c")), 0);
}

/* ---- memory ---- */

static training one, two;

static void save_and_load(nn_error *e) {
    nn_checkpoint_save(one.model, temporary("c"), one.kept, 8, e);
    nn_checkpoint_load(two.model, temporary("c"), two.kept, 8, e);
    nn_array_free(&two.history);
    (void)unlink(temporary("c"));
}

static void refused_memory(void **unused) {
    (void)unused;
    open_training(&one, ADAM, AG_F32, 1), open_training(&two, ADAM, AG_F32, 3);
    (void)train(&one, 2);
    remember(&one, 3);
    refuse_each_allocation(save_and_load);
    close_training(&one), close_training(&two);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(goes_on),     cmocka_unit_test(is_weights_too),
                                       cmocka_unit_test(misfits),     cmocka_unit_test(damaged),
                                       cmocka_unit_test(full_disk),   cmocka_unit_test(killed),
                                       cmocka_unit_test(two_writers), cmocka_unit_test(refused_memory)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
