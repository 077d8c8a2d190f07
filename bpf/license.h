/* The kernel lets only programs with a GPL-compatible licence call the functions that read its memory and tell the time. The
 * programs in this directory are therefore offered under the GPL, version 2, or the 2-clause BSD licence, as you choose; the
 * agent that loads them is a work of its own, under the Apache licence. */
#ifndef TAPIO_LICENSE_H
#define TAPIO_LICENSE_H

#include "kernel.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#endif
