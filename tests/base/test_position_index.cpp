// SPDX-License-Identifier: MIT
#include <dmasync/detail/base/position_index.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <random>
#include <utility>
#include <vector>

using dmasync::detail::position_index;

namespace {

/// An array that is indexed, and counts how often it is looked at.
class array {
    [[nodiscard]] auto at() const {
        return [this](std::size_t i) -> const void* {
            ++looks_;
            return keys_[i];
        };
    }

public:
    void add(const char* key) {
        index_.make_room(keys_.size(), at());
        index_.insert(key, keys_.size());
        keys_.push_back(key);
    }
    void remove(std::size_t position) {
        index_.remove(position, keys_.size() - 1, at());
        keys_[position] = keys_.back();
        keys_.pop_back();
    }
    void clear() {
        index_.clear();
        keys_.clear();
    }
    [[nodiscard]] std::size_t find(const char* key) const { return index_.find(key, keys_.size(), at()); }

    /// Whether each key is found where it is.
    [[nodiscard]] bool finds_all() const {
        for (std::size_t i = 0; i < keys_.size(); ++i) {
            if (find(keys_[i]) != i) { return false; }
        }
        return true;
    }

    [[nodiscard]] const std::vector<const char*>& keys() const { return keys_; }
    [[nodiscard]] std::size_t looks() const { return looks_; }

private:
    std::vector<const char*> keys_;
    position_index index_;
    mutable std::size_t looks_ = 0;
};

/// Addresses that lie beside each other, as those of one allocator do.
struct places {
    explicit places(std::size_t n) : memory(n * 64) {}
    [[nodiscard]] const char* operator[](std::size_t i) const { return &memory[i * 64]; }
    std::vector<char> memory;
};

} // namespace

TEST_CASE("what has been put into an index is found at its position, whatever its size") {
    const places all{1000};
    array a;
    CHECK(a.find(all[0]) == 0);
    for (std::size_t i = 0; i < 1000; ++i) {
        a.add(all[i]);
        CHECK(a.find(all[i]) == i);
    }
    CHECK(a.finds_all());
}

TEST_CASE("what is not in an index is not found") {
    const places all{200};
    array a;
    for (std::size_t i = 0; i < 200; i += 2) { a.add(all[i]); }
    for (std::size_t i = 1; i < 200; i += 2) { CHECK(a.find(all[i]) == a.keys().size()); }
    CHECK(a.find(nullptr) == a.keys().size());
}

TEST_CASE("what is taken out of an index is not found, and the last one is where it was") {
    const places all{100};
    array a;
    for (std::size_t i = 0; i < 100; ++i) { a.add(all[i]); }
    a.remove(7);
    CHECK(a.find(all[7]) == 99);
    CHECK(a.find(all[99]) == 7);
    a.remove(98);
    CHECK(a.find(all[98]) == 98);
    CHECK(a.finds_all());
}

TEST_CASE("an index finds all that is left, in whatever order others come and go") {
    const places all{500};
    std::mt19937 random{1};
    array a;
    std::vector<const char*> out;
    for (std::size_t i = 0; i < 500; ++i) { out.push_back(all[i]); }
    for (int round = 0; round < 5000; ++round) {
        if (!out.empty() && (a.keys().empty() || random() % 2 == 0)) {
            std::swap(out[random() % out.size()], out.back());
            a.add(out.back());
            out.pop_back();
        } else {
            const std::size_t i = random() % a.keys().size();
            out.push_back(a.keys()[i]);
            a.remove(i);
            CHECK(a.find(out.back()) == a.keys().size());
        }
        if (round % 100 == 0) { CHECK(a.finds_all()); }
    }
}

TEST_CASE("an index that has been emptied can be filled again") {
    const places all{50};
    array a;
    for (int round = 0; round < 2; ++round) {
        for (std::size_t i = 0; i < 50; ++i) { a.add(all[49 - i]); }
        CHECK(a.finds_all());
        a.clear();
        CHECK(a.find(all[3]) == 0);
    }
}

TEST_CASE("filling an index and finding all of it looks at few for each, however many there are") {
    const places all{20000};
    array a;
    for (std::size_t i = 0; i < 20000; ++i) { a.add(all[i]); }
    CHECK(a.finds_all());
    CHECK(a.looks() < 20000 * 10);
}
