#include "../plain_functions.h"

#include "hand.h"

static const hand_function functions[] = {
    {rosenbrock, rosenbrock_gradient}, {helmholtz, helmholtz_gradient}, {net, net_gradient},
    {logistic, logistic_gradient},     {camera, camera_gradient},       {chain, chain_gradient},
};

void hand_begin(void) {
    helmholtz_begin();
    logistic_begin();
    net_begin();
    camera_begin();
}
hand_function hand_find(int problem) { return functions[problem]; }
