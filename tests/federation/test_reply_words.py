import pytest

from federation.errors import FedprintError
from federation.reply_words import MOST_TASKS, check_tasks, stated_code, stated_task


def codes_of(kind):
    return [kind.code, *(code for more in kind.__subclasses__() for code in codes_of(more))]


@pytest.mark.parametrize("code", ["done", "withheld", "wants-model", *sorted(set(codes_of(FedprintError)))])
def test_codes_of_fedprint_are_codes(code):
    assert stated_code(code) == code


@pytest.mark.parametrize("text", ["", "Miller.dcm failed", "a" * 41, "\x1b[2J", "done\n", "Done", 7, None])
def test_a_text_is_no_code(text):
    with pytest.raises(ValueError, match="code"):
        stated_code(text)


@pytest.mark.parametrize("text", ["", "../../etc", "a\nb", "\x1b[2J", "a" * 65, "<script>", 7, None])
def test_a_text_is_no_name_of_a_task(text):
    with pytest.raises(ValueError, match="name of a task"):
        stated_task(text)


def test_a_site_speaks_of_every_task_once_and_not_of_thousands():
    names = [f"task-{k}" for k in range(MOST_TASKS + 1)]
    check_tasks(names[:-1])
    with pytest.raises(ValueError, match="too many"):
        check_tasks(names)
    with pytest.raises(ValueError, match="twice"):
        check_tasks(["lungs", "lungs"])
