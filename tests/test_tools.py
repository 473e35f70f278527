#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests of the scripts in tools/ that other tests rely on: what they are there to find, they must find."""

import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

PROJECT = pathlib.Path(__file__).resolve().parent.parent


def run(tool, *arguments):
    command = [sys.executable, PROJECT / "tools" / tool, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


class InTemporaryFolder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path


class IncludeGraph(InTemporaryFolder):
    def complaints(self, **headers):
        for name, text in headers.items():
            self.write(f"dmasync/{name}.hpp", text)
        result = run("include-graph", self.folder)
        self.assertEqual(result.returncode, 1)
        return [line for line in result.stderr.splitlines() if "but does not exist" not in line]

    def test_an_include_of_a_lower_layer_is_fine(self):
        self.assertEqual(self.complaints(domain="#include <dmasync/error.hpp>\n", error=""), [])

    def test_an_include_of_a_higher_layer_is_found(self):
        [complaint] = self.complaints(error="#include <dmasync/domain.hpp>\n", domain="")
        self.assertIn("higher layer", complaint)

    def test_a_cycle_within_a_layer_is_found(self):
        [complaint] = self.complaints(guard="#include <dmasync/lock.hpp>\n", lock="#  include <dmasync/guard.hpp>\n")
        self.assertEqual(complaint, "cycle: guard -> lock -> guard")

    def test_a_header_without_a_layer_is_found(self):
        [complaint] = self.complaints(surprise="")
        self.assertIn("has no layer", complaint)

    def test_an_include_that_does_not_exist_is_found(self):
        [complaint] = self.complaints(lock="#include <dmasync/detail/gone.hpp>\n")
        self.assertIn("detail/gone, which does not exist", complaint)

    def test_liburing_outside_of_its_loop_is_found(self):
        [complaint] = self.complaints(uring_loop="#include <liburing.h>\n", wait="#include <liburing.h>\n")
        self.assertIn("wait: includes <liburing.h>", complaint)

    def test_the_graph_can_be_drawn(self):
        self.write("dmasync/domain.hpp", "#include <dmasync/error.hpp>\n")
        self.assertIn('"domain" -> "error";', run("include-graph", "--dot", self.folder).stdout)


class ExtractSnippets(InTemporaryFolder):
    def extract(self, markdown):
        path = self.write("page.md", markdown)
        return run("extract-snippets", "--output", self.folder / "out", path)

    def code(self, name):
        lines = (self.folder / "out" / f"{name}.cpp").read_text(encoding="utf-8").splitlines()
        return [line for line in lines if not line.startswith("#line")]

    def test_only_marked_blocks_are_taken(self):
        result = self.extract("```cpp\nint a;\n```\n\n<!-- compiled: second -->\n```cpp\nint b;\n```\n")
        self.assertEqual(result.stdout, "compiled second\n")
        self.assertEqual(self.code("second"), ["int b;"])

    def test_a_block_goes_where_its_comment_says(self):
        result = self.extract("<!-- run: whole\nint main() {\n...\n}\n-->\n```cpp\nreturn 0;\n```\n")
        self.assertEqual(result.stdout, "run whole\n")
        self.assertEqual(self.code("whole"), ["int main() {", "return 0;", "}"])

    def test_blocks_of_one_name_are_joined(self):
        self.extract("<!-- compiled: x -->\n```cpp\nint a;\n```\ntext\n<!-- compiled: x -->\n```cpp\nint b;\n```\n")
        self.assertEqual(self.code("x"), ["int a;", "int b;"])

    def test_the_compiler_is_told_where_each_line_comes_from(self):
        self.extract("text\n<!-- compiled: x\nint a;\n...\nint c;\n-->\n```cpp\nint b;\n```\n")
        source = (self.folder / "out" / "x.cpp").read_text(encoding="utf-8").splitlines()
        page = self.folder.resolve() / "page.md"
        self.assertEqual(source, [f'#line 3 "{page}"', "int a;", f'#line 8 "{page}"', "int b;",
                                  f'#line 5 "{page}"', "int c;"])

    def test_a_marker_without_a_block_is_refused(self):
        result = self.extract("<!-- compiled: x -->\ntext\n")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("not followed by", result.stderr)

    def test_an_unchanged_file_is_left_alone(self):
        self.extract("<!-- compiled: x -->\n```cpp\nint a;\n```\n")
        before = (self.folder / "out" / "x.cpp").stat().st_mtime_ns
        self.extract("<!-- compiled: x -->\n```cpp\nint a;\n```\n")
        self.assertEqual((self.folder / "out" / "x.cpp").stat().st_mtime_ns, before)


class CompileCost(InTemporaryFolder):
    def test_the_core_is_smaller_than_everything(self):
        table = run("report", "--results", self.folder, "--repetitions", "1", "includes").stdout
        lines = {row.split("|")[1].strip(): int(row.split("|")[3]) for row in table.splitlines()[2:] if row}
        everything = lines["`<dmasync/dmasync.hpp>`"]
        self.assertLess(lines["`<dmasync/dmasync.hpp>`, `DMASYNC_WITHOUT_URING`"], everything)


class InstructionBudget(InTemporaryFolder):
    """Of a program whose operation adds up as many numbers as its name says."""

    PROGRAM = """
        #include <cstdio>
        #include <cstdlib>
        int main(int argc, char** argv) {
            if (argc == 1) { return std::puts("some build\\n100\\n200") < 0; }
            volatile long sum = 0;
            for (long i = std::atol(argv[1]) * std::atol(argv[2]); i > 0; --i) { sum = sum + i; }
        }"""

    @classmethod
    def setUpClass(cls):
        if not (shutil.which("valgrind") and shutil.which("g++")):
            print("[skipped] tools/instruction-budget is not tested without valgrind and g++")
            raise unittest.SkipTest("no valgrind, or no g++")
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.program = pathlib.Path(folder.name) / "program"
        subprocess.run(["g++", "-O1", "-x", "c++", "-", "-o", cls.program], input=cls.PROGRAM, text=True, check=True)
        budget = pathlib.Path(folder.name) / "budget"
        budget.write_text("# kept\nbuild another\n", encoding="utf-8")
        run("instruction-budget", "--program", cls.program, "--budget", budget, "--renew")
        cls.renewed = budget.read_text(encoding="utf-8").splitlines()
        cls.counted = {name: float(needed) for name, needed in (line.split() for line in cls.renewed[2:])}

    def check(self, budget, *arguments):
        self.write("budget", budget)
        return run("instruction-budget", "--program", self.program, "--budget", self.folder / "budget", *arguments)

    def test_renewed_budgets_keep_what_is_said_about_them(self):
        self.assertEqual(self.renewed[:2], ["# kept", "build some build"])

    def test_it_is_exact(self):
        each = self.counted["100"] / 100
        self.assertEqual(each, int(each))
        self.assertEqual(self.counted["200"], 200 * each)

    def test_an_operation_that_costs_more_than_its_budget_fails(self):
        needed = self.counted["100"]
        at_most = self.check(f"build some build\n100 {needed / 1.04}\n", "100")
        self.assertEqual((at_most.returncode, at_most.stdout.count("over its budget")), (0, 0))
        beyond = self.check(f"build some build\n100 {needed / 1.06}\n", "100")
        self.assertEqual((beyond.returncode, beyond.stdout.count("over its budget")), (1, 1))
        self.assertIn("tools/instruction-budget --renew", beyond.stdout)

    def test_a_budget_that_is_too_large_is_told_and_no_failure(self):
        needed = self.counted["100"]
        result = self.check(f"build some build\n100 {needed * 1.06}\n", "100")
        self.assertEqual((result.returncode, result.stdout.count("is stale")), (0, 1))

    def test_an_operation_without_a_budget_fails(self):
        result = self.check("build some build\n100 1e9\n")
        self.assertEqual(result.returncode, 1)
        self.assertIn("200: ", result.stdout)
        self.assertIn("has no budget", result.stdout)

    def test_a_budget_without_an_operation_fails(self):
        result = self.check("build some build\n300 1e9\n", "100")
        self.assertEqual(result.returncode, 1)
        self.assertIn("has no 300", result.stderr)

    def test_another_build_is_skipped_and_said_so(self):
        result = self.check("build another\n100 1\n")
        self.assertEqual(result.returncode, 77)
        self.assertIn("[skipped] instruction budgets are of another, this is some build", result.stdout)


class Sizes(InTemporaryFolder):
    def check(self, shown, printed):
        page = self.write("page.md", f"<!-- tools/report: sizes -->\n{shown}\n<!-- end -->\n")
        program = self.write("bench/dmasync_sizes", f"#!/bin/sh\ncat <<END\n{printed}\nEND\n")
        program.chmod(0o700)
        return run("report", "--build", self.folder, "--results", self.folder, "--page", page, "--check", "sizes")

    def test_a_page_that_shows_the_sizes_is_fine(self):
        table = "| a build | bytes |\n|---|---|\n| guard | 16 |"
        self.assertEqual(self.check(table, table).returncode, 0)

    def test_a_size_that_is_another_one_now_is_found(self):
        table = "| a build | bytes |\n|---|---|\n| guard | {} |"
        result = self.check(table.format(16), table.format(24))
        self.assertEqual((result.returncode, result.stdout), (1, "| guard | 24 |\n"))

    def test_a_size_that_is_no_longer_printed_is_found(self):
        table = "| a build | bytes |\n|---|---|"
        self.assertEqual(self.check(table + "\n| guard | 16 |", table).returncode, 1)

    def test_another_build_is_skipped(self):
        self.assertEqual(self.check("| a build | bytes |", "| another | bytes |").returncode, 77)


class Unite(InTemporaryFolder):
    FILE = """#include <cstdio>
#define WORD "{name}"
namespace {{ const char* same_name() {{ return WORD; }} }}
struct at_start {{ at_start() {{ std::printf("%s %s:%d\\n", same_name(), __FILE__, __LINE__); }} }} const here;
"""

    def unite(self, *texts):
        sources = [self.write(f"{name}.cpp", text) for name, text in zip("ab", texts)]
        return run("unite", "--output", self.folder / "all.cpp", *sources)

    def test_files_with_the_same_names_in_them_become_one_that_knows_their_lines(self):
        main = "int main() {}\n"
        self.assertEqual(self.unite(self.FILE.format(name="one"), self.FILE.format(name="two")).returncode, 0)
        self.write("main.cpp", main)
        program = self.folder / "program"
        subprocess.run(["g++", "-Wall", "-Werror", "-o", program, self.folder / "all.cpp", self.folder / "main.cpp"], check=True)
        said = subprocess.run([program], capture_output=True, text=True, check=True).stdout
        self.assertEqual(said, f"one {self.folder}/a.cpp:4\ntwo {self.folder}/b.cpp:4\n")

    def test_what_would_mean_something_else_in_a_namespace_is_refused(self):
        for text in ("namespace std {}\n", "#if 1\n#include <cstdio>\n#endif\n"):
            self.assertNotEqual(self.unite(text).returncode, 0)


class Words(InTemporaryFolder):
    def words_in(self, name, text):
        return [line.split(": ")[1] for line in run("words", self.write(name, text)).stdout.splitlines()]

    def test_words_for_persons_are_found_in_comments_and_in_names_of_tests(self):
        text = '// Who waits.\nauto who = "nobody"; /* somebody\nelse */\nTEST_CASE("he goes") { f("him"); }\n'
        self.assertEqual(self.words_in("a.cpp", text), ["Who", "somebody", "he"])

    def test_of_python_comments_and_docstrings_are_read_and_no_other_strings(self):
        text = '"""Whoever."""\ndef f():\n    """His."""\n    return "nobody"  # him\n'
        self.assertEqual(self.words_in("a.py", text), ["Whoever", "His", "him"])

    def test_of_pages_everything_but_code_is_read(self):
        self.assertEqual(self.words_in("a.md", "Nobody\n\n```\nwho\n```\n`who` [a](who.md)\n"), ["Nobody"])

    def test_users_are_people(self):
        self.assertEqual(self.words_in("a.md", "users who ask, and a lock who asks\n"), ["who"])


class HeadersAlone(InTemporaryFolder):
    def check(self, **headers):
        for name, text in headers.items():
            self.write(f"dmasync/{name}.hpp", text)
        return run("headers-alone", self.folder)

    def test_headers_that_include_what_they_use_are_fine(self):
        result = self.check(a="inline int a() { return 1; }", b="#include <dmasync/a.hpp>\ninline int b() { return a(); }")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("2 headers, 2 compilations, 0 failed", result.stdout)

    def test_a_header_that_relies_on_what_others_include_is_found(self):
        result = self.check(a="inline int a() { return 1; }", b="inline int b() { return a(); }")
        self.assertEqual(result.returncode, 1)
        self.assertIn("dmasync/b.hpp  does not compile on its own", result.stderr)

    def test_a_warning_is_a_failure(self):
        self.assertEqual(self.check(a="inline int a(int x) { return 1; }").returncode, 1)

    def test_what_is_missing_without_liburing_only_is_found(self):
        result = self.check(a="#ifndef DMASYNC_WITHOUT_URING\ninline int a() { return 1; }\n#endif",
                            b="#include <dmasync/a.hpp>\ninline int b() { return a(); }")
        self.assertEqual(result.returncode, 1)
        self.assertIn("2 headers, 4 compilations, 1 failed", result.stdout)


if __name__ == "__main__":
    unittest.main()
