// SPDX-License-Identifier: MIT
// sw_sync as a module; the kernel can only have it built in. What it lists in debugfs has names that a function gives which
// modules cannot call.
#include <linux/module.h>
#include <linux/sync_file.h>
#define sync_file_get_name(file, text, size) (snprintf(text, size, "fence"), text)
#include "drivers/dma-buf/sync_debug.c"
#include "drivers/dma-buf/sw_sync.c"
MODULE_DESCRIPTION("Timelines at the command of user space, for tests");
MODULE_LICENSE("Dual MIT/GPL");
