// SPDX-License-Identifier: MIT
#include <dmasync/detail/base/timer_heap.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <map>
#include <random>
#include <utility>
#include <vector>

using namespace dmasync::detail;

TEST_CASE("whatever is pushed and taken out, the top is the earliest, and of equal times the first pushed") {
    for (unsigned seed = 1; seed <= 20; ++seed) {
        CAPTURE(seed);
        std::minstd_rand random{seed};
        std::vector<timer_node> nodes(200);
        std::map<std::pair<std::chrono::steady_clock::time_point, std::size_t>, timer_node*> model; // by time and push
        std::vector<decltype(model)::iterator> place(nodes.size(), model.end());
        timer_heap heap;
        int wrong = 0;
        for (std::size_t step = 0; step < 5000; ++step) {
            const std::size_t i = random() % nodes.size();
            if (random() % 8 == 0 && !heap.empty()) {
                timer_node& top = *heap.top();
                place[static_cast<std::size_t>(&top - nodes.data())] = model.end();
                model.erase(model.begin());
                heap.erase(top);
            } else if (place[i] == model.end()) {
                nodes[i].when = std::chrono::steady_clock::time_point{std::chrono::nanoseconds{random() % 50}};
                heap.push(nodes[i]);
                place[i] = model.emplace(std::pair{nodes[i].when, step}, &nodes[i]).first;
            } else {
                heap.erase(nodes[i]);
                model.erase(std::exchange(place[i], model.end()));
            }
            wrong += heap.top() != (model.empty() ? nullptr : model.begin()->second) ? 1 : 0;
        }
        CHECK(wrong == 0);
    }
}
