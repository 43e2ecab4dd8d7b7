/* Signals that would end the program: while somebody trains they only ask for an end. */
#include "nn/train/train_impl.h"

#include <signal.h>
#include <string.h>

enum { COUNT = 2 };
static const int caught[COUNT] = {SIGINT, SIGTERM};
static volatile sig_atomic_t came;
static struct sigaction before[COUNT];
static bool changed[COUNT];

static void note(int signal) {
    (void)signal;
    came = 1;
}

void nn_signals_catch(void) {
    struct sigaction ours;
    memset(&ours, 0, sizeof ours);
    ours.sa_handler = note;
    sigemptyset(&ours.sa_mask);
    came = 0;
    for (int i = 0; i < COUNT; i++) {
        changed[i] = sigaction(caught[i], NULL, &before[i]) == 0 && before[i].sa_handler == SIG_DFL &&
                     sigaction(caught[i], &ours, NULL) == 0;
    }
}

bool nn_signals_came(void) { return came != 0; }

void nn_signals_release(void) {
    for (int i = 0; i < COUNT; i++)
        if (changed[i]) (void)sigaction(caught[i], &before[i], NULL);
    memset(changed, 0, sizeof changed);
}
