// SPDX-License-Identifier: MIT
#include <dmasync/detail/base/intrusive_list.hpp>

#include <doctest/doctest.h>

#include <array>
#include <string>

using namespace dmasync::detail;

namespace {

struct by_name;
struct by_age;

struct thing : list_hook<by_name>, list_hook<by_age> {
    explicit thing(char c) : label{c} {}
    char label;
};

using name_list = intrusive_list<thing, by_name>;
using age_list = intrusive_list<thing, by_age>;

/// The labels from front to back; the way back must show the same.
template <class List>
std::string labels(const List& list) {
    std::string forward;
    std::string backward;
    for (thing* t = list.front(); t != nullptr; t = list.next(*t)) { forward += t->label; }
    for (thing* t = list.back(); t != nullptr; t = list.prev(*t)) { backward.insert(0, 1, t->label); }
    CHECK(forward == backward);
    return forward;
}

} // namespace

TEST_CASE("things are put in front, behind, and after others") {
    std::array<thing, 4> t{thing{'a'}, thing{'b'}, thing{'c'}, thing{'d'}};
    name_list list;
    CHECK(list.empty());
    list.push_back(t[1]);
    list.push_front(t[0]);
    list.insert_after(&t[1], t[3]);
    list.insert_after(&t[1], t[2]);
    CHECK(labels(list) == "abcd");
    name_list::erase(t[0]);
    list.insert_after(nullptr, t[0]);
    CHECK(labels(list) == "abcd");
}

TEST_CASE("things are taken out from anywhere, and can be put in again") {
    std::array<thing, 3> t{thing{'a'}, thing{'b'}, thing{'c'}};
    name_list list;
    for (thing& each : t) { list.push_back(each); }
    name_list::erase(t[1]);
    CHECK(labels(list) == "ac");
    CHECK_FALSE(name_list::is_linked(t[1]));
    list.push_back(t[1]);
    CHECK(labels(list) == "acb");
    CHECK(list.pop_front() == &t[0]);
    CHECK(list.pop_front() == &t[2]);
    CHECK(list.pop_front() == &t[1]);
    CHECK(list.pop_front() == nullptr);
    CHECK(list.empty());
}

TEST_CASE("a thing with two hooks is in two lists, in an order of its own in each") {
    std::array<thing, 2> t{thing{'a'}, thing{'b'}};
    name_list names;
    age_list ages;
    for (thing& each : t) {
        names.push_back(each);
        ages.push_front(each);
    }
    CHECK(labels(names) == "ab");
    CHECK(labels(ages) == "ba");
    name_list::erase(t[0]);
    CHECK(labels(names) == "b");
    CHECK(labels(ages) == "ba");
}
