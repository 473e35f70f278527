// SPDX-License-Identifier: MIT
#pragma once
/// \file dmasync.hpp  Everything. Compiled with DMASYNC_WITHOUT_URING it does without liburing.

#include <dmasync/access.hpp>
#include <dmasync/allocation.hpp>
#include <dmasync/buffer.hpp>
#include <dmasync/call_site.hpp>
#include <dmasync/deadlock_policy.hpp>
#include <dmasync/dma_buf.hpp>
#include <dmasync/domain.hpp>
#include <dmasync/domain_counters.hpp>
#include <dmasync/domain_snapshot.hpp>
#include <dmasync/epoll_loop.hpp>
#include <dmasync/error.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/fence.hpp>
#include <dmasync/fence_wait.hpp>
#include <dmasync/guard.hpp>
#include <dmasync/lease.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/lock_options.hpp>
#include <dmasync/lock_set.hpp>
#include <dmasync/make_event_loop.hpp>
#include <dmasync/manual_loop.hpp>
#include <dmasync/mapping.hpp>
#include <dmasync/memory.hpp>
#include <dmasync/name.hpp>
#include <dmasync/run_transaction.hpp>
#include <dmasync/snapshot.hpp>
#include <dmasync/snapshot_json.hpp>
#include <dmasync/snapshot_text.hpp>
#include <dmasync/stop_ref.hpp>
#include <dmasync/stuck_after.hpp>
#include <dmasync/stuck_report.hpp>
#include <dmasync/task.hpp>
#include <dmasync/timeline.hpp>
#include <dmasync/timeline_json.hpp>
#include <dmasync/trace.hpp>
#include <dmasync/transaction.hpp>
#include <dmasync/unique_fd.hpp>
#include <dmasync/version.hpp>
#include <dmasync/wait.hpp>
#include <dmasync/when_all.hpp>
#include <dmasync/work.hpp>
#if !defined(DMASYNC_WITHOUT_URING)
#include <dmasync/uring_loop.hpp>
#endif
